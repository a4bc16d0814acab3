// A notebook's state, sentence, resources and volumes in words. Pure.
import type { NotebookObject, PodDefaultObject, PodObject } from '../api/types';
import { age, duration, parseTime } from './format';
import { cpus, gib, parseQuantity } from './quantity';
import type { AnyState } from './state';

/** On a notebook: it is stopped, since then. */
export const STOPPED = 'kubeflow-resource-stopped';
/** On a notebook: the box stopped it because nobody worked in it. */
export const CULLED = 'kfbox.dev/culled';
export const IDLE_TIMEOUT = 'kfbox.dev/idle-timeout';
export const LAST_ACTIVITY = 'notebooks.kubeflow.org/last-activity';

const PHASES: Record<string, AnyState> = {
  Waiting: 'WAITING',
  Starting: 'STARTING',
  Running: 'SERVING',
  Stopping: 'STOPPING',
  Stopped: 'STOPPED',
  Failed: 'FAILED',
};
export const NOTEBOOK_STATES: readonly AnyState[] = Object.values(PHASES);

const annotation = (notebook: NotebookObject, key: string): string | undefined => notebook.metadata.annotations?.[key];

export const notebookState = (notebook: NotebookObject): AnyState => PHASES[notebook.status?.phase ?? 'Waiting'] ?? 'WAITING';
/** Whether it is meant to run. */
export const isWanted = (notebook: NotebookObject): boolean => annotation(notebook, STOPPED) === undefined;
export const isCulled = (notebook: NotebookObject): boolean => !isWanted(notebook) && annotation(notebook, CULLED) !== undefined;
/** Whether its address leads somewhere: one that is stopped because it was idle wakes when it is visited. */
export const canOpen = (notebook: NotebookObject): boolean => isCulled(notebook) || (isWanted(notebook) && ['SERVING', 'STARTING'].includes(notebookState(notebook)));
export const lastUsed = (notebook: NotebookObject): string | undefined => annotation(notebook, LAST_ACTIVITY);
/** Empty: it is never stopped for being idle. */
export function idleTimeout(notebook: NotebookObject): string {
  const said = annotation(notebook, IDLE_TIMEOUT) ?? '';
  return said === '0' ? '' : said;
}

const spec = (notebook: NotebookObject) => notebook.spec?.template?.spec;
export const server = (notebook: NotebookObject) => spec(notebook)?.containers?.[0];
export const imageOf = (notebook: NotebookObject): string => server(notebook)?.image ?? '';
/** "registry/team/jupyter-scipy:v1@sha256:..." as "jupyter-scipy:v1". */
export const shortImage = (image: string): string => image.replace(/@sha256:.*$/, '').split('/').pop() ?? image;

/** CPUs and bytes that it asks for. */
export function asked(notebook: NotebookObject): { cpu?: number; memory?: number } {
  const { requests, limits } = server(notebook)?.resources ?? {};
  return { cpu: parseQuantity(requests?.cpu ?? limits?.cpu), memory: parseQuantity(requests?.memory ?? limits?.memory) };
}
export function askedWords(notebook: NotebookObject): string {
  const { cpu, memory } = asked(notebook);
  return [cpu === undefined ? '' : cpus(cpu), memory === undefined ? '' : gib(memory)].filter(Boolean).join(', ') || 'Nothing set';
}

const sentence = (text: string): string => {
  const trimmed = text.trim();
  return trimmed === '' || /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
};
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What the box says of it; that it waits is said by its state. */
export const reasonOf = (notebook: NotebookObject): string => (notebook.status?.message ?? '').replace(/^waits: /, '');

/** Its state in one plain sentence. */
export function notebookSentence(notebook: NotebookObject, now: number): string {
  const message = sentence(reasonOf(notebook));
  switch (notebookState(notebook)) {
    case 'SERVING': {
      const since = parseTime(notebook.status?.containerState?.running?.startedAt);
      const up = since === undefined ? 'Running.' : `Running for ${duration(now - since)}.`;
      return message === '' ? up : `${up} It ${message}`;
    }
    case 'STARTING':
      return message === '' ? 'Starting: the server comes up.' : capital(message);
    case 'STOPPING':
      return 'Stopping: the server is being shut down.';
    case 'STOPPED': {
      const since = annotation(notebook, STOPPED);
      const when = parseTime(since) === undefined ? 'Stopped' : `Stopped ${age(since, now)}`;
      return message === '' ? `${when}. Its volumes are kept.` : capital(message);
    }
    case 'FAILED':
      return message === '' ? 'Failed: its log and events may say why.' : `Failed: ${message}`;
    default:
      return message === '' ? 'Waiting until the box makes its pod.' : `Waiting: ${message}`;
  }
}

export interface Mount {
  path: string;
  readOnly: boolean;
  /** Of a volume that outlives it. */
  claim?: string;
  /** What else is mounted there. */
  other?: string;
}
export function mountsOf(notebook: NotebookObject): Mount[] {
  const volumes = new Map((spec(notebook)?.volumes ?? []).map((volume) => [volume.name, volume]));
  return (server(notebook)?.volumeMounts ?? []).map((mount) => {
    const volume = volumes.get(mount.name);
    const memory = volume?.emptyDir?.medium === 'Memory';
    const other = memory ? `shared memory${volume?.emptyDir?.sizeLimit === undefined ? '' : `, ${volume.emptyDir.sizeLimit}`}` : mount.name;
    const claim = volume?.persistentVolumeClaim?.claimName;
    return { path: mount.mountPath, readOnly: mount.readOnly === true, ...(claim === undefined ? { other } : { claim }) };
  });
}
export const claimsOf = (object: NotebookObject | PodObject): string[] => {
  const volumes = object.kind === 'Notebook' ? spec(object as NotebookObject)?.volumes : (object as PodObject).spec?.volumes;
  return [...new Set((volumes ?? []).flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []))];
};

/** On a notebook's Pod: the notebook's name. */
export const NOTEBOOK_LABEL = 'notebook-name';
const ended = (pod: PodObject): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

/** The claims that nobody mounts but these notebooks and their own Pods: what may go with them. */
export function claimsOnlyOf(going: readonly NotebookObject[], all: readonly (NotebookObject | PodObject)[]): string[] {
  const names = new Set(going.map((each) => each.metadata.name));
  const theirs = new Set(going.flatMap(claimsOf));
  for (const each of all) {
    const own = each.kind === 'Notebook' ? names.has(each.metadata.name) : names.has(each.metadata.labels?.[NOTEBOOK_LABEL] ?? '') || ended(each as PodObject);
    if (!own) for (const claim of claimsOf(each)) theirs.delete(claim);
  }
  return [...theirs].sort();
}

export interface Mounter {
  name: string;
  notebook: boolean;
}
/** Who mounts each claim: notebooks, also those that are stopped, and other Pods that have not ended. */
export function mountersOf(all: readonly (NotebookObject | PodObject)[]): Map<string, Mounter[]> {
  const notebooks = new Set(all.filter((each) => each.kind === 'Notebook').map((each) => each.metadata.name));
  const by = new Map<string, Mounter[]>();
  for (const each of all) {
    const notebook = each.kind === 'Notebook';
    if (!notebook && (ended(each as PodObject) || notebooks.has(each.metadata.labels?.[NOTEBOOK_LABEL] ?? ''))) continue;
    for (const claim of claimsOf(each)) by.set(claim, [...(by.get(claim) ?? []), { name: each.metadata.name, notebook }]);
  }
  return by;
}

/** The presets whose labels it has. */
export function presetsOf(notebook: NotebookObject, presets: readonly PodDefaultObject[]): PodDefaultObject[] {
  const labels = notebook.metadata.labels ?? {};
  return presets.filter((preset) => Object.entries(preset.spec?.selector?.matchLabels ?? {}).every(([key, value]) => labels[key] === value));
}
export const presetTitle = (preset: PodDefaultObject): string => preset.spec?.desc || preset.metadata.name;

export const notebookPath = (ns: string, name: string): string => `/notebook/${encodeURIComponent(ns)}/${encodeURIComponent(name)}/`;

export const IDLE_CHOICES = [
  { value: '', label: 'Never' },
  { value: '30m', label: '30 minutes' },
  { value: '1h', label: '1 hour' },
  { value: '2h', label: '2 hours' },
  { value: '8h', label: '8 hours' },
  { value: '24h', label: '24 hours' },
];
