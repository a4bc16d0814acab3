//! stub
use super::*;
use std::collections::BTreeMap;
use kfbox_store::kinds::{ir::{DagSpec}, pipeline::{TaskSpec as TaskObj}};
pub enum Decision { Wait, Ready(Values), Skip{reason:String}, Never{#[allow(dead_code)]reason:String}, Fail{message:String} }
pub enum Outcome { Succeeded, Failed{message:String}, Skipped }
pub fn decide(_:&Pipeline,_:&DagSpec,_:&str,_:&Scope,_:&Job)->Decision{Decision::Wait}
pub fn dag_outcome(_:&DagSpec,_:&Scope)->Option<Outcome>{None}
pub fn dag_outputs(_:&DagSpec,_:&ComponentSpec,_:&Scope)->std::result::Result<Values,String>{Err("".into())}
pub fn upstream(t:&TaskSpec)->Vec<String>{t.upstream().into_iter().map(Into::into).collect()}
pub struct Places{pub task_root_uri:String,pub output_dir:String}
pub struct Setup{pub script:String,pub command:Vec<String>}
pub struct ContainerPlan{pub image:String,pub command:Vec<String>,pub args:Vec<String>,pub env:Vec<(String,String)>,pub env_from_fields:Vec<(String,String)>,pub limits:BTreeMap<String,String>,pub requests:BTreeMap<String,String>,pub security_context:Option<k8s_openapi::api::core::v1::SecurityContext>,pub active_deadline_seconds:Option<i64>,pub labels:BTreeMap<String,String>,pub annotations:BTreeMap<String,String>,pub setup:Option<Setup>,pub task_root_uri:String,pub input_artifacts:Vec<(String,String)>}
pub fn container_plan(_:&Pipeline,_:&Located<'_>,_:&TaskObj,_:&Job,_:&Places)->std::result::Result<ContainerPlan,String>{Err("".into())}
pub fn fingerprint(_:&Pipeline,_:&Located<'_>,_:&Values,_:&ContainerPlan,_:&Job)->String{String::new()}
pub fn collect(_:&ContainerPlan,_:&ComponentSpec,_:&std::path::Path,_:&std::path::Path)->std::result::Result<Values,String>{Err("".into())}
pub fn mapped(u:&str)->String{u.into()}
