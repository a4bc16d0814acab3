// Notebooks, the presets for them, the images that are ready, what is free on the box; and what the pages do with them.
import { useQuery } from '@tanstack/react-query';
import { objectPath } from '../lib/jobs';
import { CULLED, IDLE_TIMEOUT, STOPPED } from '../lib/notebooks';
import { getJson, query } from './http';
import { kube, VOLUME } from './kube';
import type { JsonMap, KubeList, NotebookObject, PodDefaultObject, PodObject, ReadyImage, Room, VolumeObject } from './types';
import { useWatch, type Live } from './watch';

export const NOTEBOOK = { group: 'kubeflow.org', version: 'v1', plural: 'notebooks' };
export const POD_DEFAULT = { group: 'kubeflow.org', version: 'v1alpha1', plural: 'poddefaults' };
const POD = { group: '', version: 'v1', plural: 'pods' };

const together = (kinds: string[], namespace: string) => `/apis/kfbox.dev/v1alpha1/objects${query({ kinds: kinds.join(','), namespace })}`;

export const useNotebooks = (ns: string): Live<NotebookObject> => useWatch<NotebookObject>(objectPath(NOTEBOOK, ns));
export const useNotebook = (ns: string, name: string): Live<NotebookObject> =>
  useWatch<NotebookObject>(`${objectPath(NOTEBOOK, ns)}${query({ fieldSelector: `metadata.name=${name}` })}`);
/** What the form must know of a namespace, in one stream. */
export const useSurroundings = (ns: string): Live<NotebookObject | PodDefaultObject | VolumeObject> =>
  useWatch(together(['notebooks.kubeflow.org', 'poddefaults.kubeflow.org', VOLUME.plural], ns));
/** Everything that may mount a volume. */
export const useMounters = (ns: string): Live<NotebookObject | PodObject> => useWatch(together(['notebooks.kubeflow.org', 'pods'], ns));

export const usePodDefaults = (ns: string) =>
  useQuery({ queryKey: ['poddefaults', ns], queryFn: ({ signal }) => getJson<KubeList<PodDefaultObject>>(objectPath(POD_DEFAULT, ns), signal) });
export const useReadyImages = () =>
  useQuery({
    queryKey: ['images'],
    queryFn: async ({ signal }) => {
      const { items } = await getJson<{ items: ReadyImage[] }>('/apis/kfbox.dev/v1alpha1/images', signal);
      const title = (image: ReadyImage) => image.title ?? image.name;
      // "JupyterLab" before "JupyterLab with TensorFlow": the plain one is the default.
      return items.filter((image) => image.use === 'notebook').sort((a, b) => title(a).localeCompare(title(b)));
    },
  });
export const useRoom = () =>
  useQuery({ queryKey: ['room'], queryFn: ({ signal }) => getJson<Room>('/apis/kfbox.dev/v1alpha1/room', signal), staleTime: 0, refetchInterval: 15_000 });

const annotate = (ns: string, name: string, annotations: JsonMap) => kube.patch(objectPath(NOTEBOOK, ns, name), { metadata: { annotations } });

export const notebooks = {
  stop: (ns: string, name: string) => annotate(ns, name, { [STOPPED]: new Date().toISOString().replace(/\.\d+/, '') }),
  start: (ns: string, name: string) => annotate(ns, name, { [STOPPED]: null, [CULLED]: null }),
  /** The box makes its Pod anew. */
  restart: (ns: string, name: string) => kube.remove(objectPath(POD, ns, `${name}-0`)),
  setIdle: (ns: string, name: string, idle: string) => annotate(ns, name, { [IDLE_TIMEOUT]: idle === '' ? null : idle }),
  remove: (ns: string, name: string) => kube.remove(objectPath(NOTEBOOK, ns, name)),
  removeClaim: (ns: string, claim: string) => kube.remove(objectPath(VOLUME, ns, claim)),
};

/** Something of a new notebook was refused. */
export class Refused extends Error {
  constructor(
    /** The volume; none: the notebook itself. */
    readonly claim: string | undefined,
    override readonly cause: unknown,
    /** Volumes that were made and could not be deleted again. */
    readonly left: string[] = [],
  ) {
    super(cause instanceof Error ? cause.message : String(cause));
  }
}

const nameOf = (object: JsonMap): string => String((object.metadata as JsonMap).name);

/** Its new volumes first, so that it finds them; they go again when one of them or the notebook itself is refused. */
export async function createNotebook(notebook: JsonMap, claims: JsonMap[], ns: string, dryRun = false): Promise<void> {
  const made: string[] = [];
  const refuse = async (claim: string | undefined, cause: unknown): Promise<never> => {
    const undone = await Promise.allSettled(dryRun ? [] : made.map((each) => notebooks.removeClaim(ns, each)));
    throw new Refused(claim, cause, made.filter((_, i) => undone[i]?.status === 'rejected'));
  };
  for (const claim of claims) {
    try {
      await kube.create(claim, ns, dryRun);
      made.push(nameOf(claim));
    } catch (cause) {
      await refuse(nameOf(claim), cause);
    }
  }
  try {
    await kube.create(notebook, ns, dryRun);
  } catch (cause) {
    await refuse(undefined, cause);
  }
}
