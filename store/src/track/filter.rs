//! The search language of MLflow and of Kubeflow's registry: comparisons joined by AND, in the registry also by OR and
//! parentheses (`metrics.rmse < 1 and params.kind = 'tree'`), and how results are sorted (`metrics.rmse DESC`). What
//! can be asked about is said by a [`Schema`]; what a thing answers, by its [`Fields`].

use std::{cmp::Ordering, iter::Peekable};

use crate::{Error, Result};

/// What part of a thing a field is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// Of the thing itself, such as its name.
    Attribute,
    /// The newest point of a metric.
    Metric,
    /// A parameter.
    Param,
    /// A free mark.
    Tag,
    /// The data it used.
    Dataset,
}

/// What can be asked about one sort of thing.
#[derive(Debug)]
pub struct Schema {
    /// Beside attributes.
    pub entities: &'static [Entity],
    /// The attributes, and whether each is a number.
    pub attributes: &'static [(&'static str, bool)],
    /// The registry's dialect: OR and parentheses, and `customProperties.x` (or just `x`) for free marks, which may be
    /// numbers.
    pub registry: bool,
}

/// What a thing answers.
pub trait Fields {
    /// A field as text; several for a field that a thing has more than once.
    fn texts(&self, entity: Entity, key: &str) -> Vec<String>;
    /// A field as a number.
    fn number(&self, entity: Entity, key: &str) -> Option<f64>;
}

/// A field that is asked about.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    entity: Entity,
    key: String,
    /// `None` = as the value it is compared with.
    numeric: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    Number(Compare, f64),
    Text(bool, String),
    /// Pattern, whether case counts.
    Like(String, bool),
    /// Whether it must be in the list, and the list.
    In(bool, Vec<String>),
    Null(bool),
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Is(Field, Test),
}

/// A parsed filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Symbol(String),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(t) | Self::Symbol(t) => f.write_str(t),
            Self::Text(t) => write!(f, "'{t}'"),
        }
    }
}

/// The words of a filter. A quoted stretch inside a word belongs to it: tags."my tag".
fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&c) = rest.peek() {
        if c.is_whitespace() {
            rest.next();
        } else if "<>=!".contains(c) {
            let mut symbol = String::new();
            while let Some(c) = rest.next_if(|c| "<>=!".contains(*c)) {
                symbol.push(c);
            }
            out.push(Token::Symbol(symbol));
        } else if "(),".contains(c) {
            rest.next();
            out.push(Token::Symbol(c.into()));
        } else {
            let quoted = "'\"`".contains(c);
            let mut word = String::new();
            while let Some(&c) = rest.peek() {
                if c.is_whitespace() || "<>=!(),".contains(c) {
                    break;
                }
                rest.next();
                if !"'\"`".contains(c) {
                    word.push(c);
                    continue;
                }
                loop {
                    match rest.next() {
                        Some(end) if end == c => break,
                        Some(inner) => word.push(inner),
                        None => {
                            return Err(Error::invalid(format!("filter: {c} is not closed")));
                        }
                    }
                }
            }
            out.push(if quoted {
                Token::Text(word)
            } else {
                Token::Word(word)
            });
        }
    }
    Ok(out)
}

/// Types that a field of the registry may name at its end.
const PROPERTY_TYPES: &[(&str, bool)] = &[
    (".string_value", false),
    (".double_value", true),
    (".int_value", true),
    (".bool_value", false),
];

fn property(text: &str) -> Field {
    let name = text.strip_prefix("customProperties.").unwrap_or(text);
    let typed = PROPERTY_TYPES
        .iter()
        .find_map(|(end, numeric)| Some((name.strip_suffix(end)?, *numeric)));
    Field {
        entity: Entity::Tag,
        key: typed.map_or(name, |(name, _)| name).into(),
        numeric: typed.map(|(_, numeric)| numeric),
    }
}

fn field(text: &str, schema: &Schema) -> Result<Field> {
    if schema.registry && !schema.attributes.iter().any(|(name, _)| *name == text) {
        return Ok(property(text));
    }
    let (entity, key) = match text.split_once('.') {
        Some((entity, key)) => (entity, key),
        None => ("attribute", text),
    };
    let known = match entity.to_ascii_lowercase().as_str() {
        "metric" | "metrics" => Entity::Metric,
        "param" | "params" | "parameter" | "parameters" => Entity::Param,
        "tag" | "tags" => Entity::Tag,
        "attribute" | "attributes" | "attr" | "run" => Entity::Attribute,
        "dataset" | "datasets" => Entity::Dataset,
        _ => {
            return Err(Error::invalid(format!(
                "filter: Invalid entity type '{entity}'. Valid values are attributes, metrics, params, tags, datasets"
            )));
        }
    };
    if known != Entity::Attribute {
        if !schema.entities.contains(&known) {
            return Err(Error::invalid(format!(
                "filter: \"{entity}\" cannot be asked about here"
            )));
        }
        return Ok(Field {
            entity: known,
            key: key.into(),
            numeric: Some(known == Entity::Metric),
        });
    }
    let key = match key {
        "created" | "Created" => "start_time",
        "run name" | "Run name" | "Run Name" => "run_name",
        other => other,
    };
    match schema.attributes.iter().find(|(name, _)| *name == key) {
        Some((_, numeric)) => Ok(Field {
            entity: known,
            key: key.into(),
            numeric: Some(*numeric),
        }),
        None => {
            let names: Vec<_> = schema.attributes.iter().map(|(name, _)| *name).collect();
            Err(Error::invalid(format!(
                "filter: Invalid attribute key '{key}' specified. Valid keys are {}",
                names.join(", ")
            )))
        }
    }
}

fn unquoted(value: &Token) -> Error {
    Error::invalid(format!(
        "filter: Parameter value is either not quoted or unidentified quote types used for string value {value}. \
         Use either single or double quotes."
    ))
}

/// The tokens that are still to be read.
struct Reader {
    tokens: Peekable<std::vec::IntoIter<Token>>,
}

/// Parentheses within parentheses that are read; more is no filter that a person writes.
const MAX_DEPTH: usize = 32;

impl Reader {
    fn next(&mut self) -> Result<Token> {
        self.tokens
            .next()
            .ok_or_else(|| Error::invalid("filter: it ends in the middle of a comparison"))
    }

    fn keyword(&mut self) -> Result<String> {
        Ok(self.next()?.to_string().to_ascii_uppercase())
    }

    fn text(&mut self) -> Result<String> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(unquoted(&other)),
        }
    }

    fn list(&mut self) -> Result<Vec<String>> {
        let open = self.next()?;
        if open != Token::Symbol("(".into()) {
            return Err(Error::invalid(format!(
                "filter: IN needs a list such as ('a', 'b'), not {open}"
            )));
        }
        let mut list = Vec::new();
        loop {
            list.push(self.text()?);
            match self.next()? {
                Token::Symbol(s) if s == "," => {}
                Token::Symbol(s) if s == ")" => return Ok(list),
                other => {
                    return Err(Error::invalid(format!(
                        "filter: in the list, {other} stands where a comma or ) should"
                    )));
                }
            }
        }
    }

    fn test(&mut self, field: &Field) -> Result<Test> {
        let operator = self.keyword()?;
        let compare = match operator.as_str() {
            "<" => Some(Compare::Less),
            "<=" => Some(Compare::LessOrEqual),
            "=" | "==" => Some(Compare::Equal),
            "!=" | "<>" => Some(Compare::NotEqual),
            ">=" => Some(Compare::GreaterOrEqual),
            ">" => Some(Compare::Greater),
            _ => None,
        };
        let wrong = |operator: &str| {
            Error::invalid(format!(
                "filter: Invalid comparator '{operator}' for '{}'",
                field.key
            ))
        };
        match (operator.as_str(), compare) {
            ("IS", _) => match self.keyword()?.as_str() {
                "NULL" => Ok(Test::Null(true)),
                "NOT" if self.keyword()? == "NULL" => Ok(Test::Null(false)),
                _ => Err(wrong("IS")),
            },
            (_, Some(compare)) => {
                let value = self.next()?;
                let number = match &value {
                    Token::Word(word) => word.parse::<f64>().ok(),
                    _ => None,
                };
                match (field.numeric, number, value) {
                    (Some(true) | None, Some(n), _) => Ok(Test::Number(compare, n)),
                    (Some(true), None, value) => Err(Error::invalid(format!(
                        "filter: Expected numeric value type for '{}'. Found {value}",
                        field.key
                    ))),
                    (_, _, Token::Text(text)) => match compare {
                        Compare::Equal => Ok(Test::Text(true, text)),
                        Compare::NotEqual => Ok(Test::Text(false, text)),
                        _ => Err(wrong(&operator)),
                    },
                    // The registry's booleans.
                    (_, _, Token::Word(word)) if matches!(word.as_str(), "true" | "false") => {
                        Ok(Test::Text(compare == Compare::Equal, word))
                    }
                    (_, _, value) => Err(unquoted(&value)),
                }
            }
            _ if field.numeric == Some(true) => Err(wrong(&operator)),
            ("LIKE", _) => Ok(Test::Like(self.text()?, true)),
            ("ILIKE", _) => Ok(Test::Like(self.text()?.to_lowercase(), false)),
            ("IN", _) => Ok(Test::In(true, self.list()?)),
            ("NOT", _) if self.keyword()? == "IN" => Ok(Test::In(false, self.list()?)),
            _ => Err(wrong(&operator)),
        }
    }
}

impl Reader {
    /// Whether the next word is this joint; takes it then.
    fn joint(&mut self, word: &str) -> bool {
        let is = |t: &Token| matches!(t, Token::Word(w) if w.eq_ignore_ascii_case(word));
        self.tokens.next_if(is).is_some()
    }

    fn any(&mut self, schema: &Schema, depth: usize) -> Result<Node> {
        let mut nodes = vec![self.all(schema, depth)?];
        while schema.registry && self.joint("OR") {
            nodes.push(self.all(schema, depth)?);
        }
        Ok(Node::Any(nodes))
    }

    fn all(&mut self, schema: &Schema, depth: usize) -> Result<Node> {
        let mut nodes = vec![self.one(schema, depth)?];
        while self.joint("AND") {
            nodes.push(self.one(schema, depth)?);
        }
        Ok(Node::All(nodes))
    }

    fn one(&mut self, schema: &Schema, depth: usize) -> Result<Node> {
        match self.next()? {
            Token::Word(name) => {
                let field = field(&name, schema)?;
                let test = self.test(&field)?;
                Ok(Node::Is(field, test))
            }
            Token::Symbol(open) if open == "(" && schema.registry && depth < MAX_DEPTH => {
                let node = self.any(schema, depth + 1)?;
                match self.next()? {
                    Token::Symbol(close) if close == ")" => Ok(node),
                    other => Err(Error::invalid(format!(
                        "filter: {other} stands where a ) should"
                    ))),
                }
            }
            other => Err(Error::invalid(format!(
                "filter: {other} stands where a field such as name should"
            ))),
        }
    }
}

impl Filter {
    /// Parses a filter; an empty one lets everything through.
    ///
    /// # Errors
    /// `Invalid`, saying what is not understood.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self> {
        let mut reader = Reader {
            tokens: tokens(text)?.into_iter().peekable(),
        };
        if reader.tokens.peek().is_none() {
            return Ok(Self {
                root: Node::All(Vec::new()),
            });
        }
        let root = reader.any(schema, 0)?;
        match reader.tokens.next() {
            None => Ok(Self { root }),
            Some(more) => Err(Error::invalid(format!(
                "filter: Invalid clause(s) in filter string: comparisons are joined by AND{}, not {more}",
                if schema.registry { " or OR" } else { "" }
            ))),
        }
    }

    /// Whether a thing passes.
    pub fn lets(&self, thing: &impl Fields) -> bool {
        passes(&self.root, thing)
    }
}

fn passes(node: &Node, thing: &impl Fields) -> bool {
    let (field, test) = match node {
        Node::All(nodes) => return nodes.iter().all(|n| passes(n, thing)),
        Node::Any(nodes) => return nodes.iter().any(|n| passes(n, thing)),
        Node::Is(field, test) => (field, test),
    };
    let number = || thing.number(field.entity, &field.key);
    let texts = || thing.texts(field.entity, &field.key);
    match test {
        Test::Number(compare, wanted) => number().is_some_and(|n| {
            let order = n.partial_cmp(wanted);
            match compare {
                Compare::Less => order == Some(Ordering::Less),
                Compare::LessOrEqual => order.is_some_and(Ordering::is_le),
                Compare::Equal => order == Some(Ordering::Equal),
                Compare::NotEqual => order != Some(Ordering::Equal),
                Compare::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
                Compare::Greater => order == Some(Ordering::Greater),
            }
        }),
        Test::Text(equal, wanted) => texts().iter().any(|t| (t == wanted) == *equal),
        Test::Like(pattern, true) => texts().iter().any(|t| like(t, pattern)),
        Test::Like(pattern, false) => texts().iter().any(|t| like(&t.to_lowercase(), pattern)),
        Test::In(inside, list) => texts().iter().any(|t| list.contains(t) == *inside),
        Test::Null(null) => (texts().is_empty() && number().is_none()) == *null,
    }
}

/// SQL's LIKE: `%` is any text, `_` any one character.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p) = (0, 0);
    // Where to go on after a mismatch: the last `%`, and how much of the text it has taken.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '%' {
            retry = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '_' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star, taken)) = retry {
            retry = Some((star, taken + 1));
            p = star + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// How results are sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    keys: Vec<(Field, bool)>,
}

impl Order {
    /// Parses sort keys such as `metrics.rmse DESC`.
    ///
    /// # Errors
    /// `Invalid`, saying what is not understood.
    pub fn parse<'a>(keys: impl IntoIterator<Item = &'a str>, schema: &Schema) -> Result<Self> {
        let mut parsed = Vec::new();
        for text in keys {
            let words = tokens(text)?;
            let (name, down) = match words.as_slice() {
                [Token::Word(name) | Token::Text(name)] => (name, false),
                [Token::Word(name) | Token::Text(name), Token::Word(way)]
                    if way.eq_ignore_ascii_case("asc") =>
                {
                    (name, false)
                }
                [Token::Word(name) | Token::Text(name), Token::Word(way)]
                    if way.eq_ignore_ascii_case("desc") =>
                {
                    (name, true)
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "order_by: \"{text}\" must be a field, then ASC or DESC"
                    )));
                }
            };
            parsed.push((field(name, schema)?, down));
        }
        Ok(Self { keys: parsed })
    }

    /// How two things stand to each other. What lacks the field comes last, either way.
    pub fn compare(&self, a: &impl Fields, b: &impl Fields) -> Ordering {
        for (field, down) in &self.keys {
            let way = |o: Ordering| if *down { o.reverse() } else { o };
            let order = if field.numeric == Some(true) {
                let get = |thing: Option<f64>| thing.filter(|n| !n.is_nan());
                ends(
                    get(a.number(field.entity, &field.key)),
                    get(b.number(field.entity, &field.key)),
                    |x, y| way(x.total_cmp(y)),
                )
            } else {
                ends(
                    a.texts(field.entity, &field.key).into_iter().next(),
                    b.texts(field.entity, &field.key).into_iter().next(),
                    |x, y| way(x.cmp(y)),
                )
            };
            if order.is_ne() {
                return order;
            }
        }
        Ordering::Equal
    }
}

fn ends<T>(a: Option<T>, b: Option<T>, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(&a, &b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
