// What fills the disk, and how much a bucket may hold.
import { getJson, send } from './http';

export interface BucketUse {
  name: string;
  namespace: string;
  bytes: number;
  /** 0: no limit. */
  quota: number;
  dataset: boolean;
}

export interface StorageReport {
  /** Only for who administers the box. */
  disk?: { total: number; free: number; images?: number; parts: { path: string; about: string; bytes: number }[] };
  buckets: BucketUse[];
}

export const storage = {
  report: (signal?: AbortSignal) => getJson<StorageReport>('/apis/kfbox.dev/v1alpha1/storage', signal),
  setQuota: (ns: string, bucket: string, bytes: number) =>
    send('PUT', `/apis/kfbox.dev/v1alpha1/namespaces/${encodeURIComponent(ns)}/buckets/${encodeURIComponent(bucket)}/quota`, { bytes }),
};
