//! Cycles in a graph of names.

use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

/// A cycle, if there is one: the names along it, the first again at the end. Edges to unknown names are ignored.
///
/// Works without recursion: the depth comes from users.
pub(super) fn find_cycle<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut marks: BTreeMap<&str, Mark> = BTreeMap::new();
    for start in graph.keys().copied() {
        if marks.contains_key(start) {
            continue;
        }
        // The way from `start`, each name with the number of its edges already followed.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        marks.insert(start, Mark::Open);
        while let Some((name, followed)) = way.last_mut() {
            let name = *name;
            let edge = graph
                .get(name)
                .and_then(|edges| edges.get(*followed))
                .copied();
            *followed += 1;
            match edge {
                None => {
                    marks.insert(name, Mark::Done);
                    way.pop();
                }
                Some(next) if !graph.contains_key(next) => {}
                Some(next) => match marks.get(next) {
                    Some(Mark::Done) => {}
                    Some(Mark::Open) => {
                        let mut cycle: Vec<&str> = way
                            .iter()
                            .map(|(name, _)| *name)
                            .skip_while(|name| *name != next)
                            .collect();
                        cycle.push(next);
                        return Some(cycle);
                    }
                    None => {
                        marks.insert(next, Mark::Open);
                        way.push((next, 0));
                    }
                },
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_cycle() {
        let graph = BTreeMap::from([
            ("a", vec!["b", "nowhere"]),
            ("b", vec!["c"]),
            ("c", vec!["d", "b"]),
            ("d", vec![]),
        ]);
        assert_eq!(find_cycle(&graph), Some(vec!["b", "c", "b"]));
        let line = BTreeMap::from([("a", vec!["b", "c"]), ("b", vec!["c"]), ("c", vec![])]);
        assert_eq!(find_cycle(&line), None);
        let own = BTreeMap::from([("a", vec!["a"])]);
        assert_eq!(find_cycle(&own), Some(vec!["a", "a"]));
    }
}
