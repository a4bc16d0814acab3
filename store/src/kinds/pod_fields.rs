//! Which fields of a PodSpec the box honours, which it only warns about, and which it refuses: one table, from
//! which Pods and templates are checked and `store/pod-fields.md` is made. Nothing is dropped silently.

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::{Code, Error, Result};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As in Kubernetes; the text tells where one box differs.
    Honoured(&'static str),
    /// It has no effect here: the writer is told so, and why.
    Warned(&'static str),
    /// The Pod is not taken; the text says what to do instead.
    Refused(&'static str),
}

use Verdict::{Honoured as H, Refused as R, Warned as W};

const ONE_BOX: &str = "there is one box: every Pod runs on it";
const NO_NODE: &str =
    "workloads do not reach the machine: leave it out, and use a PersistentVolumeClaim for files";
const NO_HOST: &str = "workloads do not share the machine's namespaces: leave it out";
const PVC: &str = "this box has no such storage: use a PersistentVolumeClaim";
const LINUX: &str = "the engine's own profile applies";

/// The table. `[]` stands for each entry of a list. What holds for `containers[]` holds for `initContainers[]`.
/// A field covers what is below it, unless the table goes on below it.
pub const TABLE: &[(&str, Verdict)] = &[
    ("activeDeadlineSeconds", H("")),
    ("affinity", W(ONE_BOX)),
    ("automountServiceAccountToken", H("")),
    ("containers", H("")),
    ("containers[].args", H("with $(VAR)")),
    ("containers[].command", H("with $(VAR)")),
    ("containers[].env", H("")),
    ("containers[].envFrom", H("")),
    ("containers[].env[].name", H("")),
    ("containers[].env[].value", H("with $(VAR)")),
    (
        "containers[].env[].valueFrom",
        H("fieldRef, resourceFieldRef, secretKeyRef, configMapKeyRef"),
    ),
    ("containers[].env[].valueFrom.configMapKeyRef", H("")),
    ("containers[].env[].valueFrom.fieldRef", H("")),
    (
        "containers[].env[].valueFrom.fileKeyRef",
        R("use a ConfigMap and configMapKeyRef"),
    ),
    ("containers[].env[].valueFrom.resourceFieldRef", H("")),
    ("containers[].env[].valueFrom.secretKeyRef", H("")),
    ("containers[].image", H("")),
    (
        "containers[].imagePullPolicy",
        H("an image that is on the box is used"),
    ),
    (
        "containers[].lifecycle",
        W("hooks do not run: do it in the command"),
    ),
    ("containers[].livenessProbe", H("")),
    ("containers[].name", H("")),
    ("containers[].ports", H("")),
    (
        "containers[].ports[].containerPort",
        H("for names in probes and Services"),
    ),
    (
        "containers[].ports[].hostIP",
        R("use `kubectl port-forward`"),
    ),
    (
        "containers[].ports[].hostPort",
        R("use `kubectl port-forward`"),
    ),
    ("containers[].ports[].name", H("")),
    ("containers[].ports[].protocol", H("")),
    ("containers[].readinessProbe", H("")),
    (
        "containers[].resizePolicy",
        W("a container's size does not change while it runs"),
    ),
    ("containers[].resources", H("")),
    (
        "containers[].resources.claims",
        R("this box knows no device claims: ask for nvidia.com/gpu"),
    ),
    (
        "containers[].resources.limits",
        H("cpu, memory, nvidia.com/gpu; ephemeral-storage is not enforced"),
    ),
    ("containers[].resources.requests", H("")),
    (
        "containers[].restartPolicy",
        H("Always makes an init container a sidecar"),
    ),
    ("containers[].restartPolicyRules", R("use restartPolicy")),
    ("containers[].securityContext", H("")),
    (
        "containers[].securityContext.allowPrivilegeEscalation",
        H("never allowed here"),
    ),
    ("containers[].securityContext.appArmorProfile", W(LINUX)),
    ("containers[].securityContext.capabilities", H("")),
    (
        "containers[].securityContext.capabilities.add",
        H("those that an engine gives by default; others are refused"),
    ),
    (
        "containers[].securityContext.capabilities.drop",
        H("most are dropped anyway"),
    ),
    (
        "containers[].securityContext.privileged",
        R("a privileged container owns the machine: leave it out"),
    ),
    ("containers[].securityContext.procMount", W(LINUX)),
    ("containers[].securityContext.readOnlyRootFilesystem", H("")),
    ("containers[].securityContext.runAsGroup", H("")),
    ("containers[].securityContext.runAsNonRoot", H("")),
    ("containers[].securityContext.runAsUser", H("")),
    ("containers[].securityContext.seLinuxOptions", W(LINUX)),
    ("containers[].securityContext.seccompProfile", W(LINUX)),
    (
        "containers[].securityContext.windowsOptions",
        R("this box runs Linux"),
    ),
    ("containers[].startupProbe", H("")),
    ("containers[].stdin", H("")),
    ("containers[].stdinOnce", H("")),
    (
        "containers[].terminationMessagePath",
        W("the message is the end of the log"),
    ),
    (
        "containers[].terminationMessagePolicy",
        W("the message is the end of the log"),
    ),
    ("containers[].tty", H("")),
    (
        "containers[].volumeDevices",
        R("this box has no block volumes: use volumeMounts"),
    ),
    ("containers[].volumeMounts", H("")),
    ("containers[].volumeMounts[].mountPath", H("")),
    (
        "containers[].volumeMounts[].mountPropagation",
        W("mounts made inside stay inside"),
    ),
    ("containers[].volumeMounts[].name", H("")),
    ("containers[].volumeMounts[].readOnly", H("")),
    (
        "containers[].volumeMounts[].recursiveReadOnly",
        W("readOnly applies"),
    ),
    ("containers[].volumeMounts[].subPath", H("")),
    ("containers[].volumeMounts[].subPathExpr", H("")),
    ("containers[].workingDir", H("")),
    ("dnsConfig", W("the engine's name server is used")),
    ("dnsPolicy", W("the engine's name server is used")),
    (
        "enableServiceLinks",
        H("there are none: a Service is found by its name"),
    ),
    ("ephemeralContainers", R("use `kubectl exec`")),
    ("hostAliases", H("")),
    ("hostIPC", R(NO_HOST)),
    ("hostNetwork", R(NO_HOST)),
    ("hostPID", R(NO_HOST)),
    ("hostUsers", W("the engine decides on user namespaces")),
    ("hostname", H("")),
    ("hostnameOverride", R("use hostname")),
    (
        "imagePullSecrets",
        W("the engine's own logins are used: `docker login` on the machine"),
    ),
    ("initContainers", H("")),
    ("nodeName", H("the box's scheduler sets it")),
    ("nodeSelector", W(ONE_BOX)),
    ("os", W("this box runs Linux")),
    ("overhead", W("the box adds none")),
    ("preemptionPolicy", W("nothing is preempted")),
    ("priority", W("Pods wait in the order in which they came")),
    (
        "priorityClassName",
        W("Pods wait in the order in which they came"),
    ),
    (
        "readinessGates",
        R("nobody here sets further conditions: use a readinessProbe"),
    ),
    (
        "resourceClaims",
        R("this box knows no device claims: ask for nvidia.com/gpu"),
    ),
    ("resources", W("give resources to each container")),
    ("restartPolicy", H("")),
    ("runtimeClassName", W("the engine's own runtime is used")),
    ("schedulerName", W(ONE_BOX)),
    (
        "schedulingGates",
        R("a Pod is scheduled when it is written: create it later"),
    ),
    ("securityContext", H("")),
    ("securityContext.appArmorProfile", W(LINUX)),
    (
        "securityContext.fsGroup",
        H(
            "the Pod's volumes get this group; files of Secrets and ConfigMaps become readable for it",
        ),
    ),
    (
        "securityContext.fsGroupChangePolicy",
        W("the folder itself is changed, not what is in it"),
    ),
    ("securityContext.runAsGroup", H("")),
    ("securityContext.runAsNonRoot", H("")),
    ("securityContext.runAsUser", H("")),
    ("securityContext.seLinuxChangePolicy", W(LINUX)),
    ("securityContext.seLinuxOptions", W(LINUX)),
    ("securityContext.seccompProfile", W(LINUX)),
    ("securityContext.supplementalGroups", H("")),
    (
        "securityContext.supplementalGroupsPolicy",
        W("the image's groups count as well"),
    ),
    (
        "securityContext.sysctls",
        R("kernel settings are the machine's: leave it out"),
    ),
    ("securityContext.windowsOptions", R("this box runs Linux")),
    ("serviceAccount", H("the old name of serviceAccountName")),
    (
        "serviceAccountName",
        H("every account of a namespace may do the same there"),
    ),
    ("setHostnameAsFQDN", W("the host name is the short one")),
    ("shareProcessNamespace", H("")),
    ("subdomain", W("names of other Pods are not answered yet")),
    ("terminationGracePeriodSeconds", H("")),
    ("tolerations", W(ONE_BOX)),
    ("topologySpreadConstraints", W(ONE_BOX)),
    ("volumes", H("")),
    ("volumes[].awsElasticBlockStore", R(PVC)),
    ("volumes[].azureDisk", R(PVC)),
    ("volumes[].azureFile", R(PVC)),
    ("volumes[].cephfs", R(PVC)),
    ("volumes[].cinder", R(PVC)),
    (
        "volumes[].configMap",
        H("written when the Pod starts; later changes are not seen"),
    ),
    ("volumes[].csi", H("the box's own Pods only")),
    ("volumes[].downwardAPI", H("written when the Pod starts")),
    ("volumes[].emptyDir", H("")),
    ("volumes[].emptyDir.medium", H("Memory is in memory")),
    (
        "volumes[].emptyDir.sizeLimit",
        H("enforced for medium Memory, when one container mounts it"),
    ),
    ("volumes[].ephemeral", R(PVC)),
    ("volumes[].fc", R(PVC)),
    ("volumes[].flexVolume", R(PVC)),
    ("volumes[].flocker", R(PVC)),
    ("volumes[].gcePersistentDisk", R(PVC)),
    ("volumes[].gitRepo", R(PVC)),
    ("volumes[].glusterfs", R(PVC)),
    ("volumes[].hostPath", R(NO_NODE)),
    ("volumes[].image", R(PVC)),
    ("volumes[].iscsi", R(PVC)),
    ("volumes[].name", H("")),
    ("volumes[].nfs", R(PVC)),
    (
        "volumes[].persistentVolumeClaim",
        H("a claim's size is watched, not enforced"),
    ),
    ("volumes[].photonPersistentDisk", R(PVC)),
    ("volumes[].portworxVolume", R(PVC)),
    (
        "volumes[].projected",
        H("secret, configMap, downwardAPI, serviceAccountToken"),
    ),
    ("volumes[].quobyte", R(PVC)),
    ("volumes[].rbd", R(PVC)),
    ("volumes[].scaleIO", R(PVC)),
    (
        "volumes[].secret",
        H("written when the Pod starts; later changes are not seen"),
    ),
    ("volumes[].storageos", R(PVC)),
    ("volumes[].vsphereVolume", R(PVC)),
    ("workloadRef", R("there is no such kind here: leave it out")),
];

fn verdict(path: &str) -> Option<Verdict> {
    TABLE
        .binary_search_by(|(p, _)| (*p).cmp(path))
        .ok()
        .map(|at| TABLE[at].1)
}

/// Whether the table goes on below a path.
fn deeper(path: &str) -> bool {
    let below = |p: &str| {
        p.strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.') || rest.starts_with('['))
    };
    TABLE.iter().any(|(p, _)| below(p))
}

/// Values by which nothing is asked.
fn idle(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Values that every client fills in: they ask for what happens anyway.
fn usual(rule: &str, value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    match rule {
        "dnsPolicy" => text == "ClusterFirst",
        "schedulerName" => text == "default-scheduler",
        "containers[].terminationMessagePath" => text == "/dev/termination-log",
        "containers[].terminationMessagePolicy" => text == "File",
        "priority" => value == 0,
        "preemptionPolicy" => text == "PreemptLowerPriority",
        _ => false,
    }
}

/// Checks a PodSpec given as JSON against the table; `at` is where it stands in its object, such as `spec` or
/// `spec.template.spec`. Gives back what has no effect here.
///
/// # Errors
/// `Invalid` or `Unsupported`, naming the field and the mend.
pub fn check_fields(spec: &Value, at: &str) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    walk(spec, at, "", &mut warnings)?;
    Ok(warnings)
}

/// What of a PodSpec has no effect here, for `Warning:` headers.
pub fn pod_warnings(spec: &Value) -> Vec<String> {
    check_fields(spec, "spec").unwrap_or_default()
}

fn walk(value: &Value, shown: &str, rule: &str, warnings: &mut Vec<String>) -> Result<()> {
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                let shown = format!("{shown}.{key}");
                let key = if rule.is_empty() && key == "initContainers" {
                    "containers"
                } else {
                    key
                };
                let rule = if rule.is_empty() {
                    key.to_string()
                } else {
                    format!("{rule}.{key}")
                };
                if idle(child) || usual(&rule, child) {
                    continue;
                }
                match verdict(&rule) {
                    Some(H(_)) if deeper(&rule) => walk(child, &shown, &rule, warnings)?,
                    Some(H(_)) => {}
                    Some(W(why)) => warnings.push(format!("{shown}: no effect on this box: {why}")),
                    Some(R(mend)) => {
                        let message = format!("{shown}: not offered on this box: {mend}");
                        return Err(Error::new(Code::Unsupported, message));
                    }
                    None => warnings.push(format!("{shown}: unknown field, it has no effect")),
                }
            }
            Ok(())
        }
        Value::Array(list) => {
            let rule = format!("{rule}[]");
            for (i, child) in list.iter().enumerate() {
                walk(child, &format!("{shown}[{i}]"), &rule, warnings)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The table as a page.
pub fn document() -> String {
    let mut out = String::from(
        "# Fields of a Pod\n\nWhat becomes of each field of a PodSpec on one box. `containers[]` stands for init containers too. Honoured\nmeans: as in Kubernetes. No effect: the Pod runs, and the client gets a `Warning:`. Refused: the Pod is not taken.\nThis page is made from the table in `src/kinds/pod_fields.rs`, and a test compares the two.\n\n| field | | |\n|---|---|---|\n",
    );
    for (path, verdict) in TABLE {
        let (word, text) = match verdict {
            H(text) => ("honoured", text),
            W(text) => ("no effect", text),
            R(text) => ("refused", text),
        };
        out.push_str(&format!("| `{path}` | {word} | {text} |\n"));
    }
    out
}

/// The typed PodSpec of a JSON value.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn typed(spec: &Value, at: &str) -> Result<PodSpec> {
    serde_path_to_error::deserialize(spec)
        .map_err(|e| Error::invalid(format!("{at}.{}: {}", e.path(), e.inner())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(TABLE.is_sorted_by_key(|(p, _)| *p));
        let schema = schemars::schema_for!(PodSpec).to_value();
        let defs = schema["$defs"].as_object().unwrap();
        let of = |name: &str| {
            let def = defs.iter().find(|(k, _)| k.ends_with(name)).unwrap().1;
            def["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let mut missing = Vec::new();
        let mut need = |prefix: &str, names: Vec<String>| {
            for name in names {
                let path = format!("{prefix}{name}");
                if verdict(&path).is_none() {
                    missing.push(path);
                }
            }
        };
        need(
            "",
            schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect(),
        );
        need("containers[].", of("core.v1.Container"));
        need(
            "containers[].securityContext.",
            of("core.v1.SecurityContext"),
        );
        need("containers[].volumeMounts[].", of("core.v1.VolumeMount"));
        need("containers[].env[].valueFrom.", of("core.v1.EnvVarSource"));
        need("containers[].ports[].", of("core.v1.ContainerPort"));
        need("securityContext.", of("core.v1.PodSecurityContext"));
        need("volumes[].", of("core.v1.Volume"));
        assert!(missing.is_empty(), "not in the table: {missing:?}");
    }

    #[test]
    fn the_page_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pod-fields.md");
        if std::env::var_os("KFBOX_WRITE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), document());
    }

    #[test]
    fn nothing_is_dropped_silently() {
        let spec = json!({
            "containers": [{"name": "a", "image": "x", "lifecycle": {"preStop": {}}, "imagePullPolicy": "Always"}],
            "nodeSelector": {"a": "b"}, "dnsPolicy": "ClusterFirst", "bogus": 1, "tolerations": [],
        });
        let warnings = check_fields(&spec, "spec.template.spec").unwrap();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|w| w.starts_with("spec.template.spec."))
        );
        for (spec, field) in [
            (json!({"hostNetwork": true}), "spec.hostNetwork"),
            (
                json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
                "spec.volumes[0].hostPath",
            ),
            (
                json!({"initContainers": [{"securityContext": {"privileged": true}}]}),
                "spec.initContainers[0].securityContext.privileged",
            ),
        ] {
            let e = check_fields(&spec, "spec").unwrap_err();
            assert!(e.message.starts_with(&format!("{field}:")), "{e}");
        }
        assert!(
            check_fields(&json!({"hostNetwork": false}), "spec")
                .unwrap()
                .is_empty()
        );
    }
}
