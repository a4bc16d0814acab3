//! The service-account folder: by it a workload speaks to the box, with a token that opens its own namespace only.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kfbox_store::{
    Code, Error, Object, Result,
    kinds::access::{Role, TokenScope, TokenUse},
    mint_token,
};

use super::volumes::{File, pod_dir, write_folder};
use crate::{driver::Mount, reconcile::Ctx};

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The folder's mount, unless the Pod does not want it or mounts something there itself. A box without a
/// certificate of its own does not speak to workloads over TLS: there is no folder then.
pub(super) async fn mount(
    ctx: &Ctx,
    pod: &Object,
    spec: &PodSpec,
    container: &Container,
) -> Result<Option<Mount>> {
    let mut mounts = container.volume_mounts.iter().flatten();
    if spec.automount_service_account_token == Some(false)
        || mounts.any(|m| m.mount_path.trim_end_matches('/') == FOLDER)
    {
        return Ok(None);
    }
    let host = pod_dir(ctx, pod).join("serviceaccount");
    if !tokio::fs::try_exists(&host).await.unwrap_or(false) {
        let Ok(ca) = tokio::fs::read(ctx.data.join("ca.crt")).await else {
            return Ok(None);
        };
        let token = mint(ctx, pod, spec).await?;
        let files = vec![
            File::new("token", token.into_bytes()),
            File::new("namespace", pod.metadata.namespace.clone().into_bytes()),
            File::new("ca.crt", ca),
        ];
        write_folder(&host, files).await?;
    }
    Ok(Some(Mount {
        host,
        target: FOLDER.into(),
        read_only: true,
    }))
}

/// A new token for the Pod's namespace; its record goes with the Pod. A crash before the file is written leaves a
/// record that nobody can use.
pub(super) async fn mint(ctx: &Ctx, pod: &Object, spec: &PodSpec) -> Result<String> {
    let ns = &pod.metadata.namespace;
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let secret = hex::encode(rand::random::<[u8; 32]>());
    let scope = TokenScope {
        namespaces: vec![ns.clone()],
        role: Role::Edit,
    };
    let minted = mint_token(
        secret,
        &format!("system:serviceaccount:{ns}:{account}"),
        TokenUse::Api,
        None,
        Some(scope),
        &format!("Pod {ns}/{}", pod.metadata.name),
    )?;
    match ctx.store.create(minted.object.owned_by(pod)).await {
        Ok(_) => Ok(minted.secret),
        Err(e) if e.code == Code::AlreadyExists => Err(Error::internal("two equal secrets")),
        Err(e) => Err(e),
    }
}
