//! PyTorch: `PET_*`, which torchrun reads.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kfbox_store::{Code, Error, Result, kinds::trainer::TorchPolicy};

use super::{
    super::jobset::{JobSet, PORT, Training, cpus, gpus, set_env, value},
    listen, rank, trainers,
};

pub fn apply(training: &Training<'_>, policy: &TorchPolicy, jobset: &mut JobSet) -> Result<()> {
    let command = training
        .spec
        .trainer
        .as_ref()
        .and_then(|t| t.command.clone());
    if command.is_some_and(|c| c == ["tune", "run"]) {
        return Err(Error::new(
            Code::Unsupported,
            "spec.trainer.command [\"tune\", \"run\"]: torchtune's recipes are not put together by this box; give the whole command",
        ));
    }
    let master = training.first_node(jobset);
    let nodes = training.nodes();
    let written = match &policy.num_proc_per_node {
        Some(IntOrString::Int(n)) => n.to_string(),
        Some(IntOrString::String(s)) => s.clone(),
        None => "auto".into(),
    };
    let mut env = vec![
        value("PET_NNODES", &nodes.to_string()),
        rank("PET_NODE_RANK"),
        value("PET_MASTER_ADDR", &master),
        value("PET_MASTER_PORT", &PORT.to_string()),
    ];
    for container in trainers(jobset) {
        let resources = container.resources.as_ref();
        let processes = match training.processes() {
            Some(n) => n.to_string(),
            // "auto" would start one process for each CPU of the machine.
            None if gpus(resources) == 0 && (written == "auto" || written == "cpu") => {
                cpus(resources).max(1).to_string()
            }
            None => written.clone(),
        };
        env.push(value("PET_NPROC_PER_NODE", &processes));
        for variable in &env {
            set_env(container, variable.clone());
        }
        listen(container);
    }
    for target in policy.env_injection.iter().flat_map(|e| &e.targets) {
        for name in &target.container_names {
            let set = jobset.sets.iter_mut().find(|s| s.name == target.job_name);
            let container = set.and_then(|s| s.container(name)).ok_or_else(|| {
                Error::invalid(format!(
                    "mlPolicy.torch.envInjection: the runtime has no container \"{name}\" in \"{}\"",
                    target.job_name
                ))
            })?;
            for variable in &env {
                set_env(container, variable.clone());
            }
        }
    }
    Ok(())
}
