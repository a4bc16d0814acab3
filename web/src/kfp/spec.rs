//! Pipeline specs: read from what clients send, checked, stored once per content, and kept at hand for lists.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use kfbox_store::{
    Code, Error, Object, Ref, Result, Store, Txn,
    kinds::{
        ir::{self, IrError, Pipeline, PipelineFile},
        pipeline::{PIPELINE_SPEC, PipelineSpecBody, SpecRef},
    },
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Specs kept in memory; most lists show runs of a few pipelines.
const KEPT: usize = 16;

/// A spec that passed all checks of an upload.
pub(super) struct Checked {
    pub body: PipelineSpecBody,
    pub pipeline: Pipeline,
    pub digest: String,
}

fn wrong(error: &IrError) -> Error {
    Error::invalid(error.to_string())
}

impl Checked {
    /// From the bytes of a pipeline file. Takes its time on large ones: call it off the async runtime.
    pub(super) fn from_file(bytes: &[u8]) -> Result<Self> {
        Self::check(ir::parse_file(bytes).map_err(|e| wrong(&e))?)
    }

    /// From the form that the API carries.
    pub(super) fn from_value(value: Value) -> Result<Self> {
        Self::check(
            PipelineFile::from_value(value)
                .map_err(|e| Error::invalid(format!("pipeline_spec: {e}")))?,
        )
    }

    /// From the store: it was checked when it came in, and is again, by the rules of today.
    pub(super) fn from_stored(body: &PipelineSpecBody) -> Result<Self> {
        Self::from_value(super::wire::pipeline_spec(body))
    }

    fn check(file: PipelineFile) -> Result<Self> {
        ir::check(&file.pipeline).map_err(|e| wrong(&e))?;
        let body = PipelineSpecBody {
            pipeline: file.spec,
            platform: file.platform.unwrap_or_default(),
        };
        let bytes = serde_json::to_vec(&body).map_err(Error::internal)?;
        Ok(Self {
            body,
            pipeline: file.pipeline,
            digest: format!("sha256-{}", hex::encode(Sha256::digest(bytes))),
        })
    }

    /// Whether the engine of this version can run all of it, and with these parameters; returns them complete.
    pub(super) fn runnable(&self, given: &Map<String, Value>) -> Result<Map<String, Value>> {
        let missing = ir::unsupported(&self.pipeline);
        if !missing.is_empty() {
            let all: Vec<String> = missing.iter().map(ToString::to_string).collect();
            return Err(Error::invalid(format!(
                "this version of the box cannot run the pipeline: {}",
                all.join("; ")
            )));
        }
        ir::runtime_parameters(&self.pipeline, given)
            .map_err(|e| Error::invalid(format!("runtime_config.{e}")))
    }

    /// Stores it, unless it is there already.
    pub(super) fn put(&self, txn: &mut Txn<'_>, namespace: &str) -> Result<SpecRef> {
        let r = Ref::new(&PIPELINE_SPEC, namespace, &self.digest);
        if txn.get(&r)?.is_none() {
            txn.create(
                Object::new(&PIPELINE_SPEC, namespace, &self.digest).with_spec(&self.body)?,
            )?;
        }
        Ok(SpecRef {
            digest: self.digest.clone(),
        })
    }
}

/// Specs read of late. What a digest names never changes, so nothing here goes stale.
#[derive(Default)]
pub(crate) struct Specs(Mutex<VecDeque<(String, Arc<PipelineSpecBody>)>>);

impl Specs {
    /// The spec of a digest; `None` when it is gone.
    pub(super) async fn get(
        &self,
        store: &Store,
        namespace: &str,
        spec: &SpecRef,
    ) -> Result<Option<Arc<PipelineSpecBody>>> {
        {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = kept.iter().position(|(digest, _)| *digest == spec.digest)
                && let Some(entry) = kept.remove(at)
            {
                let body = entry.1.clone();
                kept.push_front(entry);
                return Ok(Some(body));
            }
        }
        if spec.digest.is_empty() {
            return Ok(None);
        }
        let r = Ref::new(&PIPELINE_SPEC, namespace, &spec.digest);
        let Some(object) = store.get(&r).await? else {
            return Ok(None);
        };
        let body: Arc<PipelineSpecBody> = Arc::new(object.spec()?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_front((spec.digest.clone(), body.clone()));
        kept.truncate(KEPT);
        Ok(Some(body))
    }

    /// The spec of a digest, which must be there.
    pub(super) async fn fetch(
        &self,
        store: &Store,
        namespace: &str,
        spec: &SpecRef,
    ) -> Result<Arc<PipelineSpecBody>> {
        let found = self.get(store, namespace, spec).await?;
        found.ok_or_else(|| {
            Error::new(
                Code::Precondition,
                format!(
                    "the pipeline spec {} is no longer stored: upload it again",
                    spec.digest
                ),
            )
        })
    }
}
