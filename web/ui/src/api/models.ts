// The registry of models as live lists: its entries are objects of the box.
import type { KubeObject } from './types';
import { useWatch, type Live } from './watch';

export interface RegisteredModel extends KubeObject {
  spec: {
    name: string;
    description?: string;
    owner?: string;
    state: 'LIVE' | 'ARCHIVED';
    lastVersion: number;
    aliases?: Record<string, number>;
    customProperties?: Record<string, Record<string, unknown>>;
  };
}

export interface ModelVersion extends KubeObject {
  spec: {
    registeredModelId: string;
    number: number;
    name: string;
    description?: string;
    author?: string;
    state: 'LIVE' | 'ARCHIVED';
    stage: string;
    runId?: string;
    loggedModelId?: string;
    customProperties?: Record<string, Record<string, unknown>>;
    artifacts?: { artifactType?: string; uri?: string; modelFormatName?: string; modelSourceKind?: string; modelSourceId?: string }[];
  };
}

const root = (ns: string) => `/apis/kfbox.dev/v1alpha1/namespaces/${encodeURIComponent(ns)}`;

export const useModels = (ns: string): Live<RegisteredModel> => useWatch<RegisteredModel>(`${root(ns)}/registeredmodels`);
export const useModelVersions = (ns: string): Live<ModelVersion> => useWatch<ModelVersion>(`${root(ns)}/modelversions`);

/** When it was changed last: the box keeps it to the millisecond. */
export const changedAt = (object: KubeObject): string | undefined => {
  const ms = Number(object.metadata.annotations?.['kfbox.dev/updated-ms']);
  return ms > 0 ? new Date(ms).toISOString() : object.metadata.creationTimestamp;
};

/** Free marks as text: Kubeflow types each. */
export const marks = (properties: Record<string, Record<string, unknown>> | undefined): [string, string][] =>
  Object.entries(properties ?? {}).map(([key, property]) => {
    const value = Object.entries(property).find(([field]) => field.endsWith('_value'))?.[1];
    return [key, typeof value === 'string' ? value : JSON.stringify(value)];
  });
