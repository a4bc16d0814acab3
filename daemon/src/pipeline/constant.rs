//! Constants of a task: they may carry placeholders, for the run and for other inputs of the same task.

use std::collections::BTreeMap;

use serde_json::Value;

use super::placeholder::{self, Placeholder, job_text, value_text};
use super::resolve::{ResolveError, Site, parameter, task_uuid};

impl Site<'_> {
    /// Resolves constants into `known`. A constant may refer to other inputs of the same task, also to constants.
    pub(super) fn constants<'b>(
        &self,
        mut open: BTreeMap<&'b str, Value>,
        known: &mut BTreeMap<&'b str, Value>,
    ) -> Result<(), ResolveError> {
        while !open.is_empty() {
            let ready: Vec<&str> = open
                .iter()
                .filter(|(name, value)| {
                    let mut names = Vec::new();
                    references(value, &mut names);
                    names
                        .iter()
                        .all(|n| n == *name || !open.contains_key(n.as_str()))
                })
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                let names: Vec<&str> = open.keys().copied().collect();
                return Err(ResolveError::new(
                    "inputs",
                    format!(
                        "these constants refer to each other in a circle: {}",
                        names.join(", ")
                    ),
                ));
            }
            for name in ready {
                if let Some(value) = open.remove(name) {
                    let value = self.constant(name, value, known)?;
                    known.insert(name, value);
                }
            }
        }
        Ok(())
    }

    fn constant(
        &self,
        input: &str,
        value: Value,
        known: &BTreeMap<&str, Value>,
    ) -> Result<Value, ResolveError> {
        if let Value::String(text) = &value
            && let Some(Placeholder::InputParameter(from)) = placeholder::whole(text)
            && from != input
        {
            // Nothing but a reference: the value itself, with its type.
            return match known
                .get(from)
                .or_else(|| self.scope.inputs.parameters.get(from))
            {
                Some(value) => Ok(value.clone()),
                None => Err(self.no_input(input, from)),
            };
        }
        self.expand(input, value, known)
    }

    fn expand(
        &self,
        input: &str,
        value: Value,
        known: &BTreeMap<&str, Value>,
    ) -> Result<Value, ResolveError> {
        Ok(match value {
            Value::String(text) if text.contains("{{$") => {
                Value::String(placeholder::replace(&text, |p| match p {
                    Placeholder::InputParameter(from) if *from != input => known
                        .get(from)
                        .or_else(|| self.scope.inputs.parameters.get(*from))
                        .map(|value| Some(value_text(value)))
                        .ok_or_else(|| self.no_input(input, from)),
                    Placeholder::Job(name) => {
                        let uuid = task_uuid(self.job, &self.scope.path, self.name);
                        job_text(name, self.job, self.name, &uuid)
                            .map(Some)
                            .map_err(|e| ResolveError::new(parameter(input), e))
                    }
                    _ => Ok(None),
                })?)
            }
            Value::Array(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| self.expand(input, item, known))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => Value::Object(
                map.into_iter()
                    .map(|(key, item)| Ok((key, self.expand(input, item, known)?)))
                    .collect::<Result<_, ResolveError>>()?,
            ),
            other => other,
        })
    }

    fn no_input(&self, input: &str, from: &str) -> ResolveError {
        ResolveError::new(
            parameter(input),
            format!(
                "refers to {from:?}, which is no input of task {:?}",
                self.name
            ),
        )
    }
}

/// The inputs that a constant refers to.
fn references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            // Infallible: the closure never fails.
            let _ = placeholder::replace(text, |p| {
                if let Placeholder::InputParameter(name) = p {
                    names.push((*name).to_owned());
                }
                Ok::<_, std::convert::Infallible>(None)
            });
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, names)),
        Value::Object(map) => map.values().for_each(|item| references(item, names)),
        _ => {}
    }
}
