//! Training jobs: the replica-typed kinds of kubeflow.org/v1, and TrainJob with its runtimes.

use crate::Kind;

pub(crate) const KINDS: &[&Kind] = &[];
