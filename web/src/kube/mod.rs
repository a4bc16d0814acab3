//! The Kubernetes-shaped API, generic over the kind registry.

use crate::Routes;

pub(crate) fn routes() -> Routes {
    Vec::new()
}
