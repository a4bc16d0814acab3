// The access keys of a namespace as a live list, and the Secret that the box keeps beside each.
import { useQuery } from '@tanstack/react-query';
import { objectPath } from '../lib/jobs';
import { pairOf, type Pair, type Rule } from '../lib/keys';
import { ApiError, getJson } from './http';
import { kube } from './kube';
import type { JsonMap, KubeObject } from './types';
import { useWatch, type Live } from './watch';

export interface AccessKey extends KubeObject {
  spec?: { rules?: Rule[]; expires?: string; note?: string };
}

interface Secret extends KubeObject {
  metadata: KubeObject['metadata'] & { ownerReferences?: { uid: string }[] };
  data?: Record<string, string>;
}

const KEY = { group: 'kfbox.dev', version: 'v1alpha1', plural: 'accesskeys' };
const SECRET = { group: '', version: 'v1', plural: 'secrets' };
/** How often, and how many milliseconds apart, we look whether the box has written the Secret. */
const LOOKS = { times: 20, apart: 250 };

export const useKeys = (ns: string): Live<AccessKey> => useWatch<AccessKey>(objectPath(KEY, ns));

export const createKey = (ns: string, name: string, spec: JsonMap): Promise<KubeObject> =>
  kube.create({ apiVersion: 'kfbox.dev/v1alpha1', kind: 'AccessKey', metadata: { name, namespace: ns }, spec }, ns);
export const revokeKey = (ns: string, name: string) => kube.remove(objectPath(KEY, ns, name));

/** Id and secret of a key as soon as the box has written them; they are not kept for longer than they are shown. */
export const usePair = (ns: string, name: string, uid: string) =>
  useQuery({
    queryKey: ['pair', ns, name, uid],
    queryFn: async ({ signal }): Promise<Pair> => {
      const secret = await getJson<Secret>(objectPath(SECRET, ns, name), signal);
      // A Secret of the same name may be of a key that was revoked just now, or somebody's own.
      const pair = secret.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true ? pairOf(secret.data) : undefined;
      if (pair === undefined) throw new Error(`The Secret “${name}” is not the key’s. The key works, but under this name nobody can be told its secret: make one with another name.`);
      return pair;
    },
    retry: (count, error) => count < LOOKS.times && !(error instanceof ApiError && error.status === 403),
    retryDelay: LOOKS.apart,
    gcTime: 0,
    staleTime: 0,
  });
