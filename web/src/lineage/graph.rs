//! The graph of facts, and the part of it that is above and below one node.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use kfbox_store::{Error, Result, blob::commit::folder};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::facts::{Commit, Facts, plain};

/// Nodes of one answer, at most.
const MOST: usize = 2000;

/// Something in the graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Node {
    /// `s3://...`, `run/<id>/<task>`, `tracked-run/<id>`, `dataset/<name>@<commit>`, `model/<name>/<version>`.
    pub id: String,
    /// `artifact`, `task`, `tracked-run`, `commit` or `model-version`.
    pub kind: &'static str,
    pub name: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

/// What flowed from where to where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Edge {
    pub from: String,
    pub to: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
    Both,
}

impl Direction {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "both" => Ok(Self::Both),
            "up" => Ok(Self::Up),
            "down" => Ok(Self::Down),
            other => Err(Error::invalid(format!(
                "direction: \"{other}\" must be up, down or both"
            ))),
        }
    }
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    /// From each node to those that come of it, and back.
    down: HashMap<String, BTreeSet<String>>,
    up: HashMap<String, BTreeSet<String>>,
}

/// The id of a commit's node.
fn commit_id(dataset: &str, id: &str) -> String {
    format!("dataset/{dataset}@{}", folder(id))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl Graph {
    pub(super) fn of(facts: &Facts) -> Self {
        let mut graph = Self::default();
        let commits: HashMap<(&str, &str), &Commit> = facts
            .commits
            .iter()
            .map(|c| ((c.dataset.as_str(), folder(&c.id)), c))
            .collect();
        for c in &facts.commits {
            let told = json!({"message": c.message, "branch": c.branch, "time": c.at, "id": c.id, "uri": c.uri});
            let id = commit_id(&c.dataset, &c.id);
            graph.node(
                &id,
                "commit",
                &format!("{}@{}", c.dataset, folder(&c.id)),
                object(told),
            );
            if !c.parent.is_empty()
                && commits.contains_key(&(c.dataset.as_str(), folder(&c.parent)))
            {
                graph.edge(&commit_id(&c.dataset, &c.parent), &id);
            }
        }
        for e in &facts.executions {
            let kind = if e.id.starts_with("run/") {
                "task"
            } else {
                "tracked-run"
            };
            let mut told = e.facts.clone();
            told.insert("state".into(), e.state.clone().into());
            told.insert("runId".into(), e.run_id.clone().into());
            graph.node(&e.id, kind, &e.name, told);
            for (thing, made) in e
                .inputs
                .iter()
                .map(|t| (t, false))
                .chain(e.outputs.iter().map(|t| (t, true)))
            {
                let name = thing.uri.rsplit('/').next().unwrap_or(&thing.uri);
                let name = if thing.name.is_empty() {
                    name
                } else {
                    &thing.name
                };
                graph.node(
                    &thing.uri,
                    "artifact",
                    name,
                    object(json!({"type": thing.kind, "uri": thing.uri})),
                );
                let (from, to) = if made {
                    (&e.id, &thing.uri)
                } else {
                    (&thing.uri, &e.id)
                };
                graph.edge(from, to);
                graph.tie_to_commits(&thing.uri, made, e.end.as_deref(), facts, &commits);
            }
        }
        for c in &facts.commits {
            for e in facts
                .executions
                .iter()
                .filter(|e| !c.run_id.is_empty() && e.run_id == c.run_id)
            {
                graph.edge(&e.id, &commit_id(&c.dataset, &c.id));
            }
        }
        for v in &facts.versions {
            let id = format!("model/{}/{}", v.model, v.number);
            let told = json!({"version": v.name, "stage": v.stage, "uri": v.uri});
            graph.node(
                &id,
                "model-version",
                &format!("{} {}", v.model, v.name),
                object(told),
            );
            if !v.uri.is_empty() {
                graph.node(
                    &v.uri,
                    "artifact",
                    v.uri.rsplit('/').next().unwrap_or_default(),
                    object(json!({"uri": v.uri})),
                );
                graph.edge(&v.uri, &id);
                graph.tie_to_commits(&v.uri, false, None, facts, &commits);
            }
            let run = format!("tracked-run/{}", v.tracked_run);
            if !v.tracked_run.is_empty() && graph.nodes.contains_key(&run) {
                graph.edge(&run, &id);
            }
            for e in facts
                .executions
                .iter()
                .filter(|e| !v.pipeline_run.is_empty() && e.run_id == v.pipeline_run)
            {
                graph.edge(&e.id, &id);
            }
        }
        graph
    }

    /// An artifact in a commit comes of the commit; one that was left in a branch went into the next commit there.
    fn tie_to_commits(
        &mut self,
        uri: &str,
        made: bool,
        end: Option<&str>,
        facts: &Facts,
        commits: &HashMap<(&str, &str), &Commit>,
    ) {
        let Some((bucket, key)) = uri
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'))
        else {
            return;
        };
        let first = key.split('/').next().unwrap_or_default();
        if let Some(commit) = commits.get(&(bucket, first)) {
            self.edge(&commit_id(&commit.dataset, &commit.id), uri);
        } else if made && let Some(end) = end {
            let later = facts.commits.iter().filter(|c| {
                // Times of objects have whole seconds.
                c.dataset == bucket && c.branch == first && c.at.get(..19) >= end.get(..19)
            });
            if let Some(next) = later.min_by_key(|c| c.at.clone()) {
                self.edge(uri, &commit_id(&next.dataset, &next.id));
            }
        }
    }

    fn node(&mut self, id: &str, kind: &'static str, name: &str, facts: Map<String, Value>) {
        self.nodes.entry(id.to_owned()).or_insert_with(|| Node {
            id: id.to_owned(),
            kind,
            name: name.to_owned(),
            facts,
        });
    }

    fn edge(&mut self, from: &str, to: &str) {
        if from != to {
            self.down
                .entry(from.to_owned())
                .or_default()
                .insert(to.to_owned());
            self.up
                .entry(to.to_owned())
                .or_default()
                .insert(from.to_owned());
        }
    }

    /// The nodes that a name means: itself, or all tasks of a run.
    fn named(&self, of: &str) -> Vec<String> {
        let of = match of.split_once("://") {
            Some(_) => plain(of),
            None => of.to_owned(),
        };
        if self.nodes.contains_key(&of) {
            return vec![of];
        }
        let below = format!("{}/", of.trim_end_matches('/'));
        let tasks = self
            .nodes
            .range(below.clone()..)
            .take_while(|(id, _)| id.starts_with(&below));
        tasks.map(|(id, _)| id.clone()).collect()
    }

    /// What is around a node, at most so many steps away.
    pub(super) fn around(
        &self,
        of: &str,
        direction: Direction,
        depth: usize,
    ) -> Result<(Vec<Node>, Vec<Edge>)> {
        let starts = self.named(of);
        if starts.is_empty() {
            return Err(Error::not_found(format!(
                "nothing is known of {of}: no task, run, commit or model names it"
            )));
        }
        let mut found = BTreeSet::new();
        if direction != Direction::Down {
            self.walk(&starts, &self.up, depth, &mut found);
        }
        if direction != Direction::Up {
            self.walk(&starts, &self.down, depth, &mut found);
        }
        let nodes = found
            .iter()
            .filter_map(|id| self.nodes.get(id).cloned())
            .collect();
        let mut edges = Vec::new();
        for from in &found {
            for to in self
                .down
                .get(from)
                .into_iter()
                .flatten()
                .filter(|to| found.contains(*to))
            {
                edges.push(Edge {
                    from: from.clone(),
                    to: to.clone(),
                });
            }
        }
        Ok((nodes, edges))
    }

    fn walk(
        &self,
        starts: &[String],
        next: &HashMap<String, BTreeSet<String>>,
        depth: usize,
        found: &mut BTreeSet<String>,
    ) {
        let mut open: VecDeque<(String, usize)> = starts.iter().map(|s| (s.clone(), 0)).collect();
        let mut seen: BTreeSet<String> = starts.iter().cloned().collect();
        while let Some((at, far)) = open.pop_front() {
            found.insert(at.clone());
            if far == depth || found.len() >= MOST {
                continue;
            }
            for to in next.get(&at).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push_back((to.clone(), far + 1));
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lineage::facts::{Execution, Thing, Version};

    fn thing(uri: &str) -> Thing {
        Thing {
            uri: uri.into(),
            ..Thing::default()
        }
    }

    fn facts() -> Facts {
        let commit = |id: &str, parent: &str, at: &str| Commit {
            dataset: "digits".into(),
            branch: "main".into(),
            id: id.into(),
            parent: parent.into(),
            at: at.into(),
            ..Commit::default()
        };
        let task = |name: &str, inputs: &[&str], outputs: &[&str]| Execution {
            id: format!("run/r1/{name}"),
            name: name.into(),
            run_id: "r1".into(),
            end: Some("2027-01-02T00:00:00.5Z".into()),
            inputs: inputs.iter().map(|u| thing(u)).collect(),
            outputs: outputs.iter().map(|u| thing(u)).collect(),
            ..Execution::default()
        };
        Facts {
            executions: vec![
                task("load", &[], &["s3://digits/aaaaaaaaaaaa/train.csv"]),
                task(
                    "train",
                    &["s3://digits/aaaaaaaaaaaa/train.csv"],
                    &["s3://mlpipeline/r1/model", "s3://digits/main/extra.csv"],
                ),
                task("aside", &[], &["s3://mlpipeline/r1/aside"]),
            ],
            commits: vec![
                commit("aaaaaaaaaaaa0000", "", "2027-01-01T00:00:00Z"),
                commit(
                    "bbbbbbbbbbbb0000",
                    "aaaaaaaaaaaa0000",
                    "2027-01-02T00:00:00Z",
                ),
            ],
            versions: vec![Version {
                model: "digits".into(),
                number: 1,
                name: "1".into(),
                uri: "s3://mlpipeline/r1/model".into(),
                ..Version::default()
            }],
        }
    }

    fn ids(of: &str, direction: Direction, depth: usize) -> Vec<String> {
        let found = Graph::of(&facts()).around(of, direction, depth).unwrap();
        found.0.into_iter().map(|n| n.id).collect()
    }

    #[test]
    fn a_model_leads_up_to_its_data() {
        assert_eq!(
            ids("model/digits/1", Direction::Up, 50),
            [
                "dataset/digits@aaaaaaaaaaaa",
                "model/digits/1",
                "run/r1/load",
                "run/r1/train",
                "s3://digits/aaaaaaaaaaaa/train.csv",
                "s3://mlpipeline/r1/model"
            ]
        );
        assert_eq!(
            ids("model/digits/1", Direction::Up, 1),
            ["model/digits/1", "s3://mlpipeline/r1/model"]
        );
    }

    #[test]
    fn a_commit_leads_down_to_all_that_came_of_it() {
        let down = ids("dataset/digits@aaaaaaaaaaaa", Direction::Down, 50);
        assert!(down.contains(&"model/digits/1".into()));
        // The next commit, by its parent and by what a task left in the branch.
        assert!(down.contains(&"dataset/digits@bbbbbbbbbbbb".into()));
        assert!(!down.iter().any(|id| id.contains("aside")));
    }

    #[test]
    fn all_ways_to_write_an_address_are_one() {
        let of = |uri: &str| ids(uri, Direction::Up, 0);
        assert_eq!(
            of("minio://mlpipeline/r1/model/"),
            ["s3://mlpipeline/r1/model"]
        );
        assert_eq!(of("run/r1").len(), 3);
        assert!(
            Graph::of(&facts())
                .around("s3://nobody/knows", Direction::Up, 1)
                .is_err()
        );
    }
}
