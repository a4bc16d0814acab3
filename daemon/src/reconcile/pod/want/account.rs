//! The service-account folder: by it a workload speaks to the box, with a token that opens its own namespace only.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kfbox_store::{
    Error, Object, Ref, Result,
    kinds::{
        access::{Role, TokenScope, TokenUse},
        core::NAMESPACE,
    },
    mint_token,
};

use super::volumes::{File, write_folder};
use crate::{driver::Mount, reconcile::Ctx};

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The folder's mount, unless the Pod does not want it or mounts something there itself. The Pods of an account
/// share one folder, made once: a step does not wait for it.
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
    let ns = &pod.metadata.namespace;
    let account = account(spec);
    let host = ctx.data.join("accounts").join(ns).join(account);
    if !tokio::fs::try_exists(&host).await.unwrap_or(false) {
        let ca = tokio::fs::read(ctx.data.join("ca.crt"))
            .await
            .map_err(|e| Error::internal(format!("ca.crt: {e}")))?;
        let token = mint(ctx, ns, account).await?;
        let files = vec![
            File::new("token", token.into_bytes()),
            File::new("namespace", pod.metadata.namespace.clone().into_bytes()),
            File::new("ca.crt", ca),
        ];
        write_folder(&host, files, None).await?;
    }
    Ok(Some(Mount {
        host,
        target: FOLDER.into(),
        read_only: true,
    }))
}

fn account(spec: &PodSpec) -> &str {
    let named = spec.service_account_name.as_deref();
    named.filter(|name| !name.is_empty()).unwrap_or("default")
}

/// The token in a Pod's service-account folder, for volumes that want it elsewhere.
pub(super) async fn token(ctx: &Ctx, pod: &Object, spec: &PodSpec) -> Result<String> {
    mint(ctx, &pod.metadata.namespace, account(spec)).await
}

/// A new token for an account, which opens its namespace; its record goes with the namespace. A crash before the
/// file is written leaves a record that nobody can use.
async fn mint(ctx: &Ctx, ns: &str, account: &str) -> Result<String> {
    let namespace = ctx.store.fetch(&Ref::new(&NAMESPACE, "", ns)).await?;
    let scope = TokenScope {
        namespaces: vec![ns.into()],
        role: Role::Edit,
    };
    let minted = mint_token(
        kfbox_web::new_secret(),
        &format!("system:serviceaccount:{ns}:{account}"),
        TokenUse::Api,
        None,
        Some(scope),
        "for the Pods of this account",
    )?;
    ctx.store.create(minted.object.owned_by(&namespace)).await?;
    Ok(minted.secret)
}
