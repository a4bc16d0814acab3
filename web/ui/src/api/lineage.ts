// Where data and models come from and where they went.
import { getJson, query } from './http';
import type { JsonMap } from './types';

export type NodeKind = 'artifact' | 'task' | 'tracked-run' | 'commit' | 'model-version';

export interface LineageNode {
  id: string;
  kind: NodeKind;
  name: string;
  facts?: JsonMap;
}

export interface Lineage {
  nodes: LineageNode[];
  edges: { from: string; to: string }[];
}

export const lineage = (ns: string, of: string, direction: string, signal?: AbortSignal): Promise<Lineage> =>
  getJson<Lineage>(`/apis/kfbox.dev/v1alpha1/namespaces/${encodeURIComponent(ns)}/lineage${query({ of, direction })}`, signal);

/** What a kind is called. */
export const kindWord: Record<NodeKind, string> = { artifact: 'Artifact', task: 'Step', 'tracked-run': 'Tracked run', commit: 'Commit', 'model-version': 'Model' };
