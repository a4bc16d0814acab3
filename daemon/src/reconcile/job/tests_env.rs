//! What Pods of jobs are told, and upstream's samples from manifest to Pods.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use kfbox_store::{Object, kinds::train::*};
use serde_json::{Map, Value, json};

use super::tests::{Life, replica};

/// The variables of a Pod's first container, as an object in their order of writing.
fn env(life: &Life, pod: &str) -> Value {
    let mut pods = life.world.pods.iter();
    let pod = pods.find(|p| p.metadata.name == pod).unwrap();
    let vars = pod.body["spec"]["containers"][0]["env"].as_array();
    let vars = vars.into_iter().flatten();
    let one = |v: &Value| (v["name"].as_str().unwrap().to_string(), v["value"].clone());
    Value::Object(vars.map(one).collect::<Map<_, _>>())
}

fn started(framework: &'static Framework, spec: Value) -> Life {
    let mut life = Life::new(framework, spec);
    life.settle();
    life.all("Running");
    life.settle();
    life
}

/// A leader and two workers.
fn usual(framework: &'static Framework, leader: &str) -> Life {
    let spec = json!({framework.field: {leader: replica(framework, 1, "Never"), "Worker": replica(framework, 2, "Never")}});
    started(framework, spec)
}

fn parsed(vars: &Value, name: &str) -> Value {
    serde_json::from_str(vars[name].as_str().unwrap()).unwrap()
}

#[test]
fn tensorflow_knows_its_cluster() {
    let mut roles = json!({});
    for role in ["PS", "Worker", "Evaluator"] {
        roles[role] = replica(&TENSORFLOW, 1, "Never");
    }
    let cluster =
        json!({"ps": ["j-ps-0.kubeflow.svc:2222"], "worker": ["j-worker-0.kubeflow.svc:2222"]});
    let life = started(&TENSORFLOW, json!({"tfReplicaSpecs": roles.clone()}));
    for role in ["ps", "worker", "evaluator"] {
        let config = parsed(&env(&life, &format!("j-{role}-0")), "TF_CONFIG");
        let wanted =
            json!({"cluster": cluster, "task": {"type": role, "index": 0}, "environment": "cloud"});
        assert_eq!(config, wanted);
    }
    let sparse = started(
        &TENSORFLOW,
        json!({"tfReplicaSpecs": roles, "enableDynamicWorker": true}),
    );
    assert_eq!(
        parsed(&env(&sparse, "j-worker-0"), "TF_CONFIG"),
        json!({"sparseCluster": {"ps": ["j-ps-0.kubeflow.svc:2222"], "worker": {"0": "j-worker-0.kubeflow.svc:2222"}},
               "task": {"type": "worker", "index": 0}})
    );
    let alone = json!({"tfReplicaSpecs": {"Worker": replica(&TENSORFLOW, 1, "Never")}});
    assert_eq!(env(&started(&TENSORFLOW, alone), "j-worker-0"), json!({}));
}

#[test]
fn pytorch_meets_at_the_master_or_elastically() {
    let spec = json!({"nprocPerNode": "2", "pytorchReplicaSpecs": {
        "Master": replica(&PYTORCH, 1, "Never"), "Worker": replica(&PYTORCH, 2, "Never")}});
    let life = started(&PYTORCH, spec);
    assert_eq!(
        env(&life, "j-worker-1"),
        json!({"PYTHONUNBUFFERED": "1", "MASTER_PORT": "23456", "PET_MASTER_PORT": "23456",
               "MASTER_ADDR": "j-master-0", "PET_MASTER_ADDR": "j-master-0", "WORLD_SIZE": "6",
               "RANK": "2", "PET_NODE_RANK": "2", "PET_NPROC_PER_NODE": "2", "PET_NNODES": "3"})
    );
    let waits = |name: &str| {
        let mut pods = life.world.pods.iter();
        let pod = pods.find(|p| p.metadata.name == name).unwrap();
        pod.body["spec"]["initContainers"][0]["name"].clone()
    };
    assert_eq!(waits("j-worker-0"), "init-pytorch");
    assert_eq!(waits("j-master-0"), Value::Null);
    let elastic = json!({"pytorchReplicaSpecs": {"Worker": replica(&PYTORCH, 2, "OnFailure")},
        "elasticPolicy": {"minReplicas": 1, "maxReplicas": 3, "rdzvId": "r", "maxRestarts": 5,
                          "rdzvConf": [{"key": "timeout", "value": "9"}]}});
    assert_eq!(
        env(&started(&PYTORCH, elastic), "j-worker-1"),
        json!({"PYTHONUNBUFFERED": "1", "PET_NPROC_PER_NODE": "auto", "PET_RDZV_BACKEND": "c10d",
               "PET_RDZV_ENDPOINT": "j-worker-0:23456", "PET_RDZV_ID": "r", "PET_RDZV_CONF": "timeout=9",
               "PET_MAX_RESTARTS": "5", "PET_NNODES": "1:3"})
    );
}

#[test]
fn the_others_meet_at_an_address_with_a_rank() {
    assert_eq!(
        env(&usual(&XGBOOST, "Master"), "j-worker-0"),
        json!({"MASTER_PORT": "9999", "MASTER_ADDR": "j-master-0", "WORLD_SIZE": "3", "RANK": "1",
               "PYTHONUNBUFFERED": "1", "WORKER_PORT": "9999", "WORKER_ADDRS": "j-worker-0,j-worker-1"})
    );
    let jax = json!({"jaxReplicaSpecs": {"Worker": replica(&JAX, 2, "Never")}});
    assert_eq!(
        env(&started(&JAX, jax), "j-worker-1"),
        json!({"PYTHONUNBUFFERED": "1", "COORDINATOR_PORT": "6666", "COORDINATOR_ADDRESS": "j-worker-0",
               "NUM_PROCESSES": "2", "PROCESS_ID": "1"})
    );
    let mut caffe2 = env(&usual(&CAFFE2, "Master"), "j-worker-1");
    assert_eq!(
        parsed(&caffe2, "CAFFE2_CONFIG"),
        json!({"cluster": {"master": ["j-master-0:2222"], "worker": ["j-worker-0:2222", "j-worker-1:2222"]},
               "task": {"type": "worker", "index": 1}, "environment": "cloud"})
    );
    caffe2.as_object_mut().unwrap().remove("CAFFE2_CONFIG");
    assert_eq!(
        caffe2,
        json!({"PYTHONUNBUFFERED": "1", "MASTER_ADDR": "j-master-0", "MASTER_PORT": "2222", "WORLD_SIZE": "3",
               "RANK": "2", "NUM_SHARDS": "3", "SHARD_ID": "2", "RUN_ID": "j"})
    );
    let paddle = json!({"paddleReplicaSpecs": {"Worker": replica(&PADDLE, 2, "Never")}});
    let life = started(&PADDLE, paddle);
    let wanted = |master: &str| json!({"POD_IP_DUMMY": null, "PADDLE_MASTER": master, "PADDLE_NNODES": "2", "PADDLE_JOB_ID": "j"});
    assert_eq!(env(&life, "j-worker-0"), wanted("$(POD_IP_DUMMY):36543"));
    assert_eq!(env(&life, "j-worker-1"), wanted("j-worker-0:36543"));
}

#[test]
fn mxnet_knows_its_scheduler() {
    let mut roles = json!({});
    for role in ["Scheduler", "Server", "Worker"] {
        roles[role] = replica(&MXNET, 1, "Never");
    }
    let life = started(&MXNET, json!({"mxReplicaSpecs": roles}));
    let vars = env(&life, "j-worker-0");
    let at = |name: &str| json!([{"url": name, "port": 9091}]);
    assert_eq!(
        parsed(&vars, "MX_CONFIG"),
        json!({"cluster": {"scheduler": at("j-scheduler-0"), "server": at("j-server-0"), "worker": at("j-worker-0")},
               "labels": {"scheduler": "", "server": "", "worker": ""}, "task": {"type": "worker", "index": 0}})
    );
    let mut plain = vars.as_object().unwrap().clone();
    plain.remove("MX_CONFIG");
    assert_eq!(
        Value::Object(plain),
        json!({"DMLC_PS_ROOT_PORT": "9091", "DMLC_PS_ROOT_URI": "j-scheduler-0", "DMLC_NUM_SERVER": "1",
               "DMLC_NUM_WORKER": "1", "DMLC_ROLE": "worker", "DMLC_USE_KUBERNETES": "1", "DMLC_WORKER_ID": "0"})
    );
    let tuning =
        json!({"jobMode": "MXTune", "mxReplicaSpecs": {"Tuner": replica(&MXNET, 1, "Never")}});
    let vars = env(&started(&MXNET, tuning), "j-tuner-0");
    assert_eq!(
        (&vars["DMLC_PS_ROOT_URI"], &vars["DMLC_PS_ROOT_PORT"]),
        (&json!(""), &json!("0")),
        "no scheduler"
    );
}

#[test]
fn a_launcher_gets_its_files_and_a_worker_sleeps() {
    for (framework, launcher, name) in [
        (&MPI, "Launcher", "j-launcher"),
        (&CHAINER, "Master", "j-master-0"),
    ] {
        let mut worker = replica(framework, 2, "Never");
        worker["template"]["spec"]["containers"][0]["command"] = Value::Null;
        let spec =
            json!({framework.field: {launcher: replica(framework, 1, "Never"), "Worker": worker}});
        let life = started(framework, spec);
        let vars = env(&life, name);
        assert_eq!(vars["OMPI_MCA_plm_rsh_agent"], "/etc/mpi/kubexec.sh");
        assert_eq!(vars["OMPI_MCA_orte_default_hostfile"], "/etc/mpi/hostfile");
        let config = life.world.config.as_ref().unwrap();
        let (hosts, gpus) = match launcher {
            "Master" => ("j-master-0 slots=1\n", Value::Null),
            _ => ("", json!("")),
        };
        let hosts = format!("{hosts}j-worker-0 slots=1\nj-worker-1 slots=1\n");
        assert_eq!(config.body["data"]["hostfile"], hosts);
        assert_eq!(vars["NVIDIA_VISIBLE_DEVICES"], gpus);
        let worker = life
            .world
            .pods
            .iter()
            .find(|p| p.metadata.name == "j-worker-0")
            .unwrap();
        let container = &worker.body["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["sleep"]));
        assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/mpi");
        assert_eq!(
            worker.body["spec"]["volumes"][0]["configMap"]["name"],
            "j-config"
        );
    }
}

#[test]
fn the_users_variables_come_first() {
    let mut worker = replica(&JAX, 1, "Never");
    worker["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "PROCESS_ID", "value": "mine"}]);
    let life = started(&JAX, json!({"jaxReplicaSpecs": {"Worker": worker}}));
    let vars = &life.world.pods[0].body["spec"]["containers"][0]["env"];
    assert_eq!(vars[0]["value"], "mine");
    assert_eq!(
        vars.as_array().unwrap().last().unwrap()["value"],
        "0",
        "the last wins"
    );
}

#[test]
fn upstreams_samples_become_pods() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance");
    let table: [(&str, &[&str]); 9] = [
        (
            "train/tensorflow/simple.yaml",
            &["tfjob-simple-worker-0", "tfjob-simple-worker-1"],
        ),
        (
            "train/tensorflow/mnist_with_summaries/tf_job_mnist.yaml",
            &["mnist-worker-0"],
        ),
        (
            "train/pytorch/simple.yaml",
            &["pytorch-simple-master-0", "pytorch-simple-worker-0"],
        ),
        (
            "train/xgboost/xgboostjob.yaml",
            &[
                "xgboost-dist-iris-test-train-master-0",
                "xgboost-dist-iris-test-train-worker-0",
                "xgboost-dist-iris-test-train-worker-1",
            ],
        ),
        (
            "train/jax/demo.yaml",
            &["jaxjob-simple-worker-0", "jaxjob-simple-worker-1"],
        ),
        (
            "train/paddlepaddle/simple-cpu.yaml",
            &["paddle-simple-cpu-worker-0", "paddle-simple-cpu-worker-1"],
        ),
        (
            "train/mpi/tensorflow-mnist.yaml",
            &[
                "tensorflow-mnist-launcher",
                "tensorflow-mnist-worker-0",
                "tensorflow-mnist-worker-1",
            ],
        ),
        ("mission/tfjob-ps-worker.yaml", &[]),
        (
            "mission/tfjob-recommender.yaml",
            &["recommederjob-worker-0"],
        ),
    ];
    for (file, pods) in table {
        let Ok(text) = std::fs::read_to_string(cases.join(file)) else {
            eprintln!("skipped: {file} is not here");
            continue;
        };
        let mut job: Object = serde_saphyr::from_str(&text).unwrap();
        job.metadata.namespace = "kubeflow".into();
        if let Some(prefix) = job.metadata.generate_name.clone() {
            job.metadata.name = format!("{prefix}x");
        }
        let framework = Framework::of(&job.api_version, &job.kind).unwrap();
        let mut life = Life::of(framework, job);
        life.settle();
        life.all("Running");
        life.settle();
        let made = life.pods();
        if pods.is_empty() {
            assert!(made.len() > 2, "{file}: {made:?}");
        } else {
            assert_eq!(made, pods, "{file}");
        }
        for pod in &life.world.pods {
            let mut pod = pod.clone();
            let kind = &kfbox_store::kinds::core::POD;
            (kind.prepare)(&mut pod).unwrap();
            kind.check(&pod).unwrap();
        }
    }
}
