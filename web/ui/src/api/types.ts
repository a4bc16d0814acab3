// Every shape the box's public API answers with, as far as the UI reads it: the one place that names its fields.

/** Any JSON value, as parameters and metadata carry it. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type JsonMap = { [key: string]: Json };

// ---- Kubernetes-shaped objects (list and watch) ----

export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export interface KubeList<T extends KubeObject> {
  metadata: { resourceVersion: string };
  items: T[];
}

export interface KubeStatus {
  kind: 'Status';
  status?: string;
  message?: string;
  reason?: string;
  code?: number;
}

export type WatchEvent<T extends KubeObject> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: T }
  | { type: 'BOOKMARK'; object: { metadata: { resourceVersion: string } } }
  | { type: 'ERROR'; object: KubeStatus };

export type RunState =
  | 'PENDING'
  | 'RUNNING'
  | 'SUCCEEDED'
  | 'FAILED'
  | 'CANCELING'
  | 'CANCELED'
  | 'SKIPPED'
  | 'PAUSED';

export type TaskState = 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'CACHED' | 'SKIPPED' | 'FAILED' | 'CANCELED';

export type StorageState = 'AVAILABLE' | 'ARCHIVED';

export interface RunObject extends KubeObject {
  spec: {
    displayName?: string;
    description?: string;
    experimentId?: string;
    pipelineVersionReference?: { pipelineId?: string; pipelineVersionId?: string };
    runtimeConfig?: { parameters?: JsonMap; pipelineRoot?: string };
    serviceAccount?: string;
    storageState?: StorageState;
    terminate?: boolean;
    retry?: number;
  };
  status?: {
    state?: RunState;
    stateHistory?: { updateTime: string; state: RunState; error?: { message?: string } }[];
    startTime?: string;
    finishTime?: string;
    message?: string;
    retry?: number;
  };
}

export interface Artifact {
  name?: string;
  uri?: string;
  type?: string;
  metadata?: JsonMap;
}

export interface TaskIo {
  parameters?: JsonMap;
  artifacts?: Record<string, Artifact[]>;
}

export interface TaskAttempt {
  podName?: string;
  startTime?: string;
  finishTime?: string;
  exitCode?: number;
  message?: string;
  reason?: string;
}

export interface TaskObject extends KubeObject {
  spec: {
    runId: string;
    path: string;
    name: string;
    displayName?: string;
    componentName?: string;
    type?: 'Container' | 'DAG';
  };
  status?: {
    state?: TaskState;
    message?: string;
    startTime?: string;
    finishTime?: string;
    podName?: string;
    attempts?: TaskAttempt[];
    inputs?: TaskIo;
    outputs?: TaskIo;
    cachedFrom?: { runId: string; taskPath: string };
  };
}

export interface NamedObject extends KubeObject {
  spec?: { displayName?: string; description?: string; storageState?: StorageState };
}

// ---- KFP v2beta1 REST ----

export interface KfpPipeline {
  pipeline_id: string;
  display_name?: string;
  name?: string;
  description?: string;
  created_at?: string;
}

export interface KfpPipelineVersion {
  pipeline_id: string;
  pipeline_version_id: string;
  display_name?: string;
  name?: string;
  description?: string;
  created_at?: string;
  pipeline_spec?: PipelineSpecDoc;
}

export interface KfpExperiment {
  experiment_id: string;
  display_name?: string;
  description?: string;
  created_at?: string;
  last_run_created_at?: string;
  storage_state?: StorageState;
}

export interface KfpRun {
  run_id: string;
  display_name?: string;
  description?: string;
  experiment_id?: string;
  storage_state?: StorageState;
  state?: RunState;
  created_at?: string;
  finished_at?: string;
  service_account?: string;
  pipeline_version_reference?: { pipeline_id?: string; pipeline_version_id?: string };
  pipeline_spec?: PipelineSpecDoc;
  runtime_config?: { parameters?: JsonMap; pipeline_root?: string };
  state_history?: { update_time?: string; state?: RunState }[];
  error?: { message?: string };
}

export interface CreateRunRequest {
  display_name: string;
  description?: string;
  experiment_id?: string;
  pipeline_version_reference?: { pipeline_id: string; pipeline_version_id: string };
  pipeline_spec?: PipelineSpecDoc;
  runtime_config: { parameters: JsonMap; pipeline_root?: string };
  service_account?: string;
}

// ---- the pipeline specification (IR) ----

export type ParameterType =
  | 'NUMBER_INTEGER'
  | 'NUMBER_DOUBLE'
  | 'STRING'
  | 'BOOLEAN'
  | 'LIST'
  | 'STRUCT'
  | 'TASK_FINAL_STATUS'
  | 'TASK_CONFIG';

export interface ParameterSpec {
  parameterType?: ParameterType;
  defaultValue?: Json;
  isOptional?: boolean;
  description?: string;
  literals?: Json[];
}

export interface ArtifactSpec {
  artifactType?: { schemaTitle?: string; instanceSchema?: string };
  isOptional?: boolean;
  description?: string;
}

export interface IoDefinitions {
  parameters?: Record<string, ParameterSpec>;
  artifacts?: Record<string, ArtifactSpec>;
}

interface TaskInput {
  componentInputParameter?: string;
  componentInputArtifact?: string;
  taskOutputParameter?: { producerTask?: string; outputParameterKey?: string };
  taskOutputArtifact?: { producerTask?: string; outputArtifactKey?: string };
  taskFinalStatus?: { producerTask?: string };
  runtimeValue?: { constant?: Json };
}

export interface TaskSpec {
  taskInfo?: { name?: string };
  componentRef?: { name?: string };
  dependentTasks?: string[];
  inputs?: { parameters?: Record<string, TaskInput>; artifacts?: Record<string, TaskInput> };
  triggerPolicy?: { condition?: string; strategy?: string };
  parameterIterator?: JsonMap;
  artifactIterator?: JsonMap;
  cachingOptions?: { enableCache?: boolean };
}

export interface DagSpec {
  tasks?: Record<string, TaskSpec>;
}

export interface ComponentSpec {
  executorLabel?: string;
  dag?: DagSpec;
  inputDefinitions?: IoDefinitions;
  outputDefinitions?: IoDefinitions;
}

export interface ExecutorSpec {
  container?: { image?: string; command?: string[]; args?: string[] };
  importer?: JsonMap;
}

export interface PipelineSpec {
  pipelineInfo?: { name?: string; displayName?: string; description?: string };
  root?: ComponentSpec;
  components?: Record<string, ComponentSpec>;
  deploymentSpec?: { executors?: Record<string, ExecutorSpec> };
  schemaVersion?: string;
  sdkVersion?: string;
}

/** A spec travels bare, or wrapped beside its platform document. */
export type PipelineSpecDoc = PipelineSpec | { pipeline_spec: PipelineSpec; platform_spec?: JsonMap };

// ---- Jobs, Pods, volumes, events ----

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

export interface ReplicaStatus {
  active?: number;
  succeeded?: number;
  failed?: number;
}

/** A training job of any kind; what only some kinds have is optional. */
export interface JobObject extends KubeObject {
  spec: {
    runPolicy?: { suspend?: boolean };
    suspend?: boolean;
    completions?: number;
    parallelism?: number;
    trainer?: { numNodes?: number };
    [field: string]: unknown;
  };
  status?: ReplicaStatus & {
    conditions?: Condition[];
    startTime?: string;
    completionTime?: string;
    replicaStatuses?: Record<string, ReplicaStatus>;
    jobsStatus?: (ReplicaStatus & { name: string })[];
  };
}

export interface PodObject extends KubeObject {
  spec?: { volumes?: { name: string; persistentVolumeClaim?: { claimName: string } }[] };
  status?: { phase?: string; podIP?: string; reason?: string; message?: string; containerStatuses?: { restartCount?: number }[] };
}

export interface EventObject extends KubeObject {
  type?: string;
  reason?: string;
  message?: string;
  count?: number;
  firstTimestamp?: string;
  lastTimestamp?: string;
  involvedObject?: { kind?: string; name?: string; uid?: string };
}

export interface VolumeObject extends KubeObject {
  spec?: { accessModes?: string[]; resources?: { requests?: { storage?: string } } };
  status?: { phase?: string; capacity?: { storage?: string } };
}

// ---- notebooks ----

export interface PodVolume {
  name: string;
  persistentVolumeClaim?: { claimName: string };
  emptyDir?: { medium?: string; sizeLimit?: string };
}

export interface NotebookObject extends KubeObject {
  spec?: {
    template?: {
      spec?: {
        containers?: {
          name: string;
          image?: string;
          resources?: { requests?: Record<string, string | number>; limits?: Record<string, string | number> };
          volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
          env?: { name: string; value?: string }[];
        }[];
        volumes?: PodVolume[];
      };
    };
  };
  status?: {
    phase?: string;
    message?: string;
    readyReplicas?: number;
    containerState?: { running?: { startedAt?: string } };
    conditions?: Condition[];
  };
}

export interface PodDefaultObject extends KubeObject {
  spec?: { desc?: string; selector?: { matchLabels?: Record<string, string> } };
}

/** An image that is on the box. */
export interface ReadyImage {
  name: string;
  title?: string;
  about?: string;
  use?: string;
  size?: number;
}

/** CPUs, or bytes. */
export interface Share {
  total: number;
  free: number;
}
export interface Room {
  cpu: Share;
  memory: Share;
  disk: Share;
}
