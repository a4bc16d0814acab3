// Data sets with versions: live objects, and what differs between two of their commits.
import { getJson, query, send } from './http';
import type { KubeObject } from './types';
import { useWatch, type Live } from './watch';

export interface Head {
  commit?: string;
  objects?: number;
  bytes?: number;
}

export interface Dataset extends KubeObject {
  spec?: {
    description?: string;
    branches?: { name: string; from?: string }[];
    tags?: Record<string, string>;
    triggers?: { branch?: string; pipelineId: string }[];
  };
  status?: { branches?: Record<string, Head>; message?: string };
}

export interface DatasetCommit extends KubeObject {
  spec: { dataset: string; branch?: string; message?: string; author?: string; runId?: string };
  status?: {
    phase?: 'Pending' | 'Ready' | 'Unchanged' | 'Failed';
    id?: string;
    uri?: string;
    parent?: string;
    objects?: number;
    bytes?: number;
    changes?: { added?: number; changed?: number; removed?: number };
    runs?: string[];
    message?: string;
  };
}

export interface Change {
  path: string;
  before?: number;
  after?: number;
}

const root = (ns: string) => `/apis/kfbox.dev/v1alpha1/namespaces/${encodeURIComponent(ns)}`;
const one = (ns: string, name: string) => `${root(ns)}/datasets/${encodeURIComponent(name)}`;
const meta = (kind: string) => ({ apiVersion: 'kfbox.dev/v1alpha1', kind });

export const useDatasets = (ns: string): Live<Dataset> => useWatch<Dataset>(`${root(ns)}/datasets`);
export const useCommits = (ns: string): Live<DatasetCommit> => useWatch<DatasetCommit>(`${root(ns)}/datasetcommits`);

export const datasets = {
  create: (ns: string, name: string, description: string) => send(`POST`, `${root(ns)}/datasets`, { ...meta('Dataset'), metadata: { name }, spec: { description } }),
  remove: (ns: string, name: string) => send('DELETE', one(ns, name)),
  commit: (ns: string, name: string, branch: string, message: string, author: string) =>
    send<DatasetCommit>('POST', `${root(ns)}/datasetcommits`, { ...meta('DatasetCommit'), metadata: { generateName: `${name}-` }, spec: { dataset: name, branch, message, author } }),
  removeCommit: (ns: string, commit: string) => send('DELETE', `${root(ns)}/datasetcommits/${encodeURIComponent(commit)}`),
  tag: (ns: string, name: string, tag: string, commit: string | null) => send('PATCH', one(ns, name), { spec: { tags: { [tag]: commit } } }),
  branch: (ns: string, name: string, branches: { name: string; from?: string }[]) => send('PATCH', one(ns, name), { spec: { branches } }),
  diff: (ns: string, name: string, from: string | undefined, to: string, after?: string, signal?: AbortSignal) =>
    getJson<{ from?: string; to: string; changes: Change[]; next?: string | null }>(`${one(ns, name)}/diff${query({ from, to, after, limit: 200 })}`, signal),
};

/** The folder of a commit, and its name for people. */
export const short = (id: string | undefined): string => (id ?? '').slice(0, 12);
