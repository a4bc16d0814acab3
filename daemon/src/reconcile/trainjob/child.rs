//! A Pod of a TrainJob, with the names and labels that JobSet and Job would give it.

use kfbox_store::{Object, Result};

use super::{
    extras,
    jobset::{self, Set},
};
use crate::reconcile::{
    batch::INDEX,
    template::{fresh_name, pod_of},
};

/// On a Pod: its TrainJob, as clients ask for it.
const JOBSET: &str = "jobset.sigs.k8s.io/jobset-name";
/// On a Pod: its set.
pub const SET: &str = "jobset.sigs.k8s.io/replicatedjob-name";
/// On a Pod: how many times all Pods had started over before it.
pub const ATTEMPT: &str = "jobset.sigs.k8s.io/restart-attempt";
/// Which Pod it is.
pub struct Child<'a> {
    /// Its TrainJob.
    pub job: &'a Object,
    /// Its set.
    pub set: &'a Set,
    /// The name under which the Pods are found.
    pub subdomain: &'a str,
    /// Its number in the set.
    pub index: i32,
    /// How many times all Pods had started over before it.
    pub attempt: i64,
}

impl Child<'_> {
    /// The Pod, with a name that none of these has.
    pub fn pod(&self, there: &[Object], planned: &[Object]) -> Result<Object> {
        let (set, i) = (self.set, self.index);
        let (job, uid) = (&self.job.metadata.name, &self.job.metadata.uid);
        let child = format!("{job}-{}-0", set.name);
        let stem = format!("{child}-{i}");
        let name = fresh_name(&stem, self.job, there, planned);
        let mut template = set.template.clone();
        let spec = template.spec.get_or_insert_default();
        spec.hostname.get_or_insert(stem);
        spec.subdomain.get_or_insert(self.subdomain.into());
        let trains = set.ancestor == "trainer";
        let inits = spec.init_containers.iter_mut().flatten();
        for container in spec.containers.iter_mut().chain(inits) {
            let list = container.env.get_or_insert_default();
            if list.iter().all(|e| e.name != "JOB_COMPLETION_INDEX") {
                list.push(jobset::value("JOB_COMPLETION_INDEX", &i.to_string()));
            }
            if trains && container.name == jobset::NODE {
                for variable in extras::status_door(self.job) {
                    jobset::set_env(container, variable);
                }
            }
        }
        let mut pod = pod_of(self.job, &name, &template)?;
        let (index, attempt) = (i.to_string(), self.attempt.to_string());
        let noted = [
            (JOBSET, job.as_str()),
            (SET, &set.name),
            (ATTEMPT, &attempt),
            ("jobset.sigs.k8s.io/jobset-uid", uid),
            ("jobset.sigs.k8s.io/replicatedjob-replicas", "1"),
            ("jobset.sigs.k8s.io/job-index", "0"),
            (INDEX, &index),
        ];
        for (key, value) in noted {
            pod = pod.with_label(key, value);
            pod.metadata.annotations.insert(key.into(), value.into());
        }
        for prefix in ["batch.kubernetes.io/", ""] {
            pod = pod
                .with_label(&format!("{prefix}job-name"), &child)
                .with_label(&format!("{prefix}controller-uid"), uid);
        }
        Ok(pod)
    }
}
