// Training jobs of all kinds as one thing: their state, replicas and conditions in words. Pure.
import type { Condition, JobObject, JsonMap, PodObject } from '../api/types';
import { duration, parseTime, plural } from './format';
import type { AnyState } from './state';

export interface JobKind {
  kind: string;
  group: string;
  version: string;
  plural: string;
  /** Where its replicas are described; none: one set of Pods. */
  replicas?: string;
  /** The label of its Pods that holds its name. */
  label: string;
}

const training = (kind: string, replicas: string): JobKind => ({
  kind,
  group: 'kubeflow.org',
  version: 'v1',
  plural: `${kind.toLowerCase()}s`,
  replicas,
  label: 'training.kubeflow.org/job-name',
});

export const JOB_KINDS: readonly JobKind[] = [
  training('TFJob', 'tfReplicaSpecs'),
  training('PyTorchJob', 'pytorchReplicaSpecs'),
  training('MPIJob', 'mpiReplicaSpecs'),
  training('XGBoostJob', 'xgbReplicaSpecs'),
  training('PaddleJob', 'paddleReplicaSpecs'),
  training('JAXJob', 'jaxReplicaSpecs'),
  training('MXJob', 'mxReplicaSpecs'),
  training('ChainerJob', 'chainerReplicaSpecs'),
  training('Caffe2Job', 'caffe2ReplicaSpecs'),
  { kind: 'TrainJob', group: 'trainer.kubeflow.org', version: 'v1alpha1', plural: 'trainjobs', label: 'jobset.sigs.k8s.io/jobset-name' },
  { kind: 'Job', group: 'batch', version: 'v1', plural: 'jobs', label: 'batch.kubernetes.io/job-name' },
];

export const kindOf = (object: { kind: string; apiVersion: string }): JobKind | undefined =>
  JOB_KINDS.find((k) => k.kind === object.kind && object.apiVersion.startsWith(`${k.group}/`));
export const kindAt = (pluralName: string): JobKind | undefined => JOB_KINDS.find((k) => k.plural === pluralName);

const holds = (job: JobObject, ...types: string[]): Condition | undefined =>
  job.status?.conditions?.find((c) => types.includes(c.type) && c.status === 'True');

export const isSuspended = (job: JobObject): boolean => job.spec.suspend === true || job.spec.runPolicy?.suspend === true;

/** The state that all kinds share; the kinds of kubeflow.org and the others name their conditions differently. */
export function jobState(job: JobObject): AnyState {
  if (holds(job, 'Failed')) return 'FAILED';
  if (holds(job, 'Succeeded', 'Complete')) return 'SUCCEEDED';
  if (isSuspended(job)) return 'SUSPENDED';
  if (holds(job, 'Restarting')) return 'RESTARTING';
  if (holds(job, 'Running')) return 'RUNNING';
  const active = replicasOf(job).reduce((sum, replica) => sum + replica.active, 0);
  return active > 0 ? 'RUNNING' : 'PENDING';
}

export const jobEnded = (job: JobObject): boolean => ['FAILED', 'SUCCEEDED'].includes(jobState(job));

export interface Replicas {
  type: string;
  wanted: number;
  active: number;
  succeeded: number;
  failed: number;
}

export function replicasOf(job: JobObject): Replicas[] {
  const field = kindOf(job)?.replicas;
  const row = (type: string, wanted: number, is: { active?: number; succeeded?: number; failed?: number } = {}): Replicas => ({
    type,
    wanted,
    active: is.active ?? 0,
    succeeded: is.succeeded ?? 0,
    failed: is.failed ?? 0,
  });
  if (field !== undefined) {
    const specs = (job.spec[field] ?? {}) as Record<string, { replicas?: number }>;
    return Object.entries(specs).map(([type, spec]) => row(type, spec.replicas ?? 1, job.status?.replicaStatuses?.[type]));
  }
  if (job.kind === 'TrainJob') {
    const jobs = job.status?.jobsStatus ?? [];
    const nodes = job.spec.trainer?.numNodes ?? 1;
    if (jobs.length === 0) return [row('node', nodes)];
    return jobs.map((each) => row(each.name, each.name === 'node' ? nodes : 1, each));
  }
  return [row('pod', job.spec.completions ?? job.spec.parallelism ?? 1, job.status)];
}

/** "2/3": how many of all replicas are done. */
export function replicaCount(job: JobObject): { done: number; active: number; wanted: number } {
  const rows = replicasOf(job);
  const sum = (pick: (row: Replicas) => number) => rows.reduce((total, row) => total + pick(row), 0);
  return { done: sum((r) => r.succeeded), active: sum((r) => r.active), wanted: sum((r) => r.wanted) };
}

export function jobSentence(job: JobObject, now: number): string {
  const from = parseTime(job.status?.startTime) ?? parseTime(job.metadata.creationTimestamp) ?? now;
  const took = duration((parseTime(job.status?.completionTime) ?? now) - from);
  const { done, active, wanted } = replicaCount(job);
  const why = (...types: string[]) => {
    const message = holds(job, ...types)?.message;
    return message === undefined || message === '' ? '' : ` ${message}`;
  };
  switch (jobState(job)) {
    case 'SUCCEEDED':
      return `Succeeded in ${took}.`;
    case 'FAILED':
      return `Failed after ${took}.${why('Failed')}`;
    case 'SUSPENDED':
      return 'Suspended: its pods are gone until it is resumed.';
    case 'RESTARTING':
      return `Restarting.${why('Restarting')}`;
    case 'RUNNING':
      return `Running for ${took}: ${active} of ${plural(wanted, 'replica')} at work, ${done} done.`;
    default:
      return `Waiting for ${plural(wanted, 'replica')} to start.`;
  }
}

/** A condition as a sentence: what it says, or what its type and reason mean. */
export function conditionSentence(condition: Condition): string {
  if (condition.message !== undefined && condition.message !== '') return condition.message;
  const not = condition.status === 'True' ? '' : 'not ';
  return `It is ${not}${condition.type.toLowerCase()}${condition.reason === undefined ? '' : ` (${condition.reason})`}.`;
}

/** The Pods of a job, in the order of their replicas. */
export function byReplica(pods: readonly PodObject[]): PodObject[] {
  const rank = (pod: PodObject) => Number(pod.metadata.labels?.['training.kubeflow.org/replica-index'] ?? pod.metadata.labels?.['batch.kubernetes.io/job-completion-index'] ?? 0);
  const type = (pod: PodObject) => pod.metadata.labels?.['training.kubeflow.org/replica-type'] ?? pod.metadata.labels?.['jobset.sigs.k8s.io/replicatedjob-name'] ?? '';
  return [...pods].sort((a, b) => type(a).localeCompare(type(b)) || rank(a) - rank(b) || a.metadata.name.localeCompare(b.metadata.name));
}

const POD_STATES: Record<string, AnyState> = { Pending: 'PENDING', Running: 'RUNNING', Succeeded: 'SUCCEEDED', Failed: 'FAILED' };
export const podState = (pod: PodObject): AnyState => POD_STATES[pod.status?.phase ?? 'Pending'] ?? 'PENDING';

/** Addresses: a collection, or one object. */
export const objectPath = (kind: Pick<JobKind, 'group' | 'version' | 'plural'>, namespace: string, name?: string): string =>
  `${kind.group === '' ? '/api' : `/apis/${kind.group}`}/${kind.version}/namespaces/${encodeURIComponent(namespace)}/${kind.plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;

/** The object again, as one would write it: without what the box adds, and under another name when one is given. */
export function manifest(object: object, name?: string): JsonMap {
  const { metadata, ...rest } = structuredClone(object) as JsonMap & { metadata: JsonMap };
  delete rest.status;
  const kept = Object.fromEntries(
    Object.entries(metadata).filter(([key]) => ['name', 'namespace', 'labels', 'annotations'].includes(key)),
  );
  return { apiVersion: rest.apiVersion ?? '', kind: rest.kind ?? '', metadata: { ...kept, ...(name === undefined ? {} : { name }) }, ...rest };
}
