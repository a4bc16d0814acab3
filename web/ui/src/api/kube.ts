// The Kubernetes-shaped calls the UI makes: jobs, their pods and events, volumes, namespaces.
import { JOB_KINDS, objectPath, type JobKind } from '../lib/jobs';
import { query, send } from './http';
import type { EventObject, JobObject, JsonMap, KubeObject, NotebookObject, PodObject, VolumeObject } from './types';
import { useWatch, type Live } from './watch';

/** Several kinds in one stream: a browser allows six connections to one host. */
const objects = (kinds: string[], namespace: string, more: Record<string, string> = {}) =>
  `/apis/kfbox.dev/v1alpha1/objects${query({ kinds: kinds.join(','), namespace, ...more })}`;

export const VOLUME = { group: '', version: 'v1', plural: 'persistentvolumeclaims' };

export const useNamespaces = (): Live<KubeObject> => useWatch<KubeObject>('/api/v1/namespaces');
export const useJobs = (namespace: string): Live<JobObject> =>
  useWatch<JobObject>(objects(JOB_KINDS.map((k) => `${k.plural}.${k.group}`), namespace));
/** One job; nothing is asked for without a kind and a name. */
export const useJob = (kind: JobKind | undefined, namespace: string, name: string): Live<JobObject> =>
  useWatch<JobObject>(
    kind === undefined || name === '' ? undefined : `${objectPath(kind, namespace)}${query({ fieldSelector: `metadata.name=${name}` })}`,
  );
export const usePods = (namespace: string, labelSelector: string): Live<PodObject> =>
  useWatch<PodObject>(`/api/v1/namespaces/${encodeURIComponent(namespace)}/pods${query({ labelSelector })}`);
export const useEvents = (namespace: string): Live<EventObject> =>
  useWatch<EventObject>(`/api/v1/namespaces/${encodeURIComponent(namespace)}/events`);
/** Volumes, and what may mount them. */
export const useVolumes = (namespace: string): Live<VolumeObject | PodObject | NotebookObject> =>
  useWatch<VolumeObject | PodObject | NotebookObject>(objects([VOLUME.plural, 'pods', 'notebooks.kubeflow.org'], namespace));

/** Where an object of a manifest goes; the box names the plural of a kind as Kubernetes does. */
export function addressOf(object: JsonMap, namespace: string, name?: string): string {
  const [group, version] = String(object.apiVersion).includes('/') ? String(object.apiVersion).split('/') : ['', String(object.apiVersion)];
  const known = JOB_KINDS.find((k) => k.kind === object.kind && k.group === group);
  const plural = known?.plural ?? `${String(object.kind).toLowerCase()}s`;
  const meta = object.metadata as JsonMap | undefined;
  const ns = typeof meta?.namespace === 'string' ? meta.namespace : namespace;
  return objectPath({ group: group ?? '', version: version ?? '', plural }, ns, name);
}

const strict = { fieldValidation: 'Strict', fieldManager: 'kfbox-ui' };
export const kube = {
  create: (object: JsonMap, namespace: string, dryRun = false) =>
    send<KubeObject>('POST', addressOf(object, namespace) + query({ ...strict, dryRun: dryRun ? 'All' : undefined }), object),
  replace: (object: JsonMap, namespace: string, name: string, dryRun = false) =>
    send<KubeObject>('PUT', addressOf(object, namespace, name) + query({ ...strict, dryRun: dryRun ? 'All' : undefined }), object),
  patch: (path: string, body: JsonMap) => send<KubeObject>('PATCH', path + query({ fieldManager: 'kfbox-ui' }), body),
  remove: (path: string) => send('DELETE', path, { propagationPolicy: 'Background' }),
};
