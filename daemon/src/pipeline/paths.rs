//! Where artifacts lie: URIs made for tasks, and what a URI is called inside a container.

use super::scope::Job;

/// Where a container writes its output parameters, one file each.
pub const OUTPUT_DIR: &str = "/tmp/kfp/outputs";

/// The path of a URI inside a container: `minio://b/k` is `/minio/b/k`. `None` for a scheme that is not mapped.
pub fn local_path(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once("://")?;
    Some(match scheme {
        "gs" => format!("/gcs/{rest}"),
        "s3" => format!("/s3/{rest}"),
        "minio" => format!("/minio/{rest}"),
        // An image mounted as a model: its reference becomes one folder name.
        "oci" => format!("/oci/{}/models", rest.replace('/', "_")),
        _ => return None,
    })
}

/// Where everything of a run goes: `<root>/<pipeline>/<run id>`.
pub fn run_root(job: &Job) -> String {
    // A query (`?region=..`) tells how to reach the store; it is no part of where things lie in it.
    let root = job.pipeline_root.split('?').next().unwrap_or_default();
    format!(
        "{}/{}/{}",
        root.trim_end_matches('/'),
        segment(&job.pipeline_name),
        segment(&job.uuid)
    )
}

/// Where one attempt at a task writes: `<run root>/<task>/<salt>`. The salt keeps attempts apart.
pub fn task_root(job: &Job, task: &str, salt: &str) -> String {
    format!("{}/{}/{}", run_root(job), segment(task), segment(salt))
}

/// A name as one part of a path: never empty, never `..`, no separators or control characters.
pub fn segment(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    if clean.chars().all(|c| c == '.') {
        return "-".to_owned();
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_uris() {
        assert_eq!(local_path("minio://b/k/x").as_deref(), Some("/minio/b/k/x"));
        assert_eq!(local_path("gs://b/k").as_deref(), Some("/gcs/b/k"));
        assert_eq!(local_path("s3://b/k").as_deref(), Some("/s3/b/k"));
        assert_eq!(
            local_path("oci://quay.io/a/b:1").as_deref(),
            Some("/oci/quay.io_a_b:1/models")
        );
        assert_eq!(local_path("https://x/y"), None);
        assert_eq!(local_path("plain"), None);
    }

    #[test]
    fn names_stay_one_part() {
        let job = Job {
            uuid: "u".into(),
            pipeline_name: "../my pipeline/x".into(),
            pipeline_root: "minio://b/root/?region=eu".into(),
            ..Job::default()
        };
        assert_eq!(
            task_root(&job, "train", "7"),
            "minio://b/root/..-my-pipeline-x/u/train/7"
        );
        assert_eq!(segment(".."), "-");
        assert_eq!(segment(""), "-");
        assert_eq!(segment("größe"), "größe");
    }
}
