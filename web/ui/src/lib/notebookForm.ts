// What the form of a new notebook holds: its defaults, what is wrong with it, whether it fits on the box, and the objects
// that it makes. Pure.
import type { JsonMap, PodDefaultObject, Room } from '../api/types';
import { IDLE_TIMEOUT } from './notebooks';
import { cpuQuantity, cpus, floorTo, gib, GIB, gibQuantity } from './quantity';

export const HOME = '/home/jovyan';
export const NAME_MAX = 52;

export interface DataVolume {
  id: number;
  fresh: boolean;
  claim: string;
  size: number;
  path: string;
  readOnly: boolean;
}
export interface NotebookForm {
  name: string;
  image: string;
  cpu: number;
  /** GiB */
  memory: number;
  workspace: 'new' | 'existing' | 'none';
  /** GiB, of a new workspace. */
  size: number;
  /** An existing workspace. */
  claim: string;
  data: DataVolume[];
  presets: string[];
  /** GiB; 0: the box's own default. */
  shm: number;
  idle: string;
  env: { id: number; name: string; value: string }[];
}

export const BLANK: NotebookForm = {
  name: '', image: '', cpu: 1, memory: 2, workspace: 'new', size: 10, claim: '', data: [], presets: [], shm: 0, idle: '', env: [],
};

/** "notebook-1", or the first after it that is free together with its volume. */
export function freeName(notebooks: readonly string[], claims: readonly string[]): string {
  for (let i = 1; ; i += 1) {
    const name = `notebook-${i}`;
    if (!notebooks.includes(name) && !claims.includes(`${name}-workspace`)) return name;
  }
}

const EMPTY = { name: 'Give it a name.', image: 'Choose an image.', volume: 'Choose a volume.', path: 'Say where it is mounted.' };

/** A DNS label, as Kubernetes wants a name. */
export function nameProblem(name: string, max = NAME_MAX): string | undefined {
  if (name === '') return EMPTY.name;
  if (name.length > max) return `At most ${max} characters: it has ${name.length}.`;
  if (/[A-Z]/.test(name)) return 'Only small letters.';
  if (/[^a-z0-9-]/.test(name)) return 'Only letters, digits and "-".';
  if (name.startsWith('-') || name.endsWith('-')) return 'It must begin and end with a letter or a digit.';
  return undefined;
}

/** One CPU and 2 GiB, or less when less is free; the usual when nothing is, because it will wait anyway. */
export function defaultsFor(room: Room | undefined): { cpu: number; memory: number } {
  const cpu = floorTo(Math.min(BLANK.cpu, room?.cpu.free ?? BLANK.cpu), 0.1);
  const memory = floorTo(Math.min(BLANK.memory, (room?.memory.free ?? BLANK.memory * GIB) / GIB), 0.25);
  return { cpu: cpu > 0 ? cpu : BLANK.cpu, memory: memory > 0 ? memory : BLANK.memory };
}

/** What asks for more than is free will wait; what asks for more than the box has never starts. */
export function fit(room: Room | undefined, cpu: number, memory: number): { cpu?: string; memory?: string; wait?: string } {
  if (room === undefined) return {};
  const never = {
    ...(cpu > room.cpu.total ? { cpu: `The box has ${cpus(room.cpu.total)} in all.` } : {}),
    ...(memory * GIB > room.memory.total ? { memory: `The box has ${gib(room.memory.total)} in all.` } : {}),
  };
  const short = [
    cpu > room.cpu.free ? `${cpus(cpu)} (free: ${cpus(floorTo(room.cpu.free, 0.01))})` : '',
    memory * GIB > room.memory.free ? `${memory} GiB of memory (free: ${gib(room.memory.free)})` : '',
  ].filter(Boolean);
  if (Object.keys(never).length > 0 || short.length === 0) return never;
  const now = { cpu: floorTo(Math.min(cpu, room.cpu.free), 0.1), memory: floorTo(Math.min(memory, room.memory.free / GIB), 0.25) };
  const instead = now.cpu > 0 && now.memory > 0 ? `${cpus(now.cpu)} and ${now.memory} GiB would fit right now.` : 'Nothing fits right now: stop something first, or let it wait.';
  return { wait: `It will wait until there is room, because it asks for ${short.join(' and ')}. ${instead}` };
}
export const freeCpu = (room: Room | undefined): string | undefined => (room === undefined ? undefined : `${Number(floorTo(room.cpu.free, 0.01).toFixed(2))} of ${cpus(room.cpu.total)} are free`);
export const freeMemory = (room: Room | undefined): string | undefined => (room === undefined ? undefined : `${gib(room.memory.free).replace(' GiB', '')} of ${gib(room.memory.total)} are free`);

export const workspaceName = (form: Pick<NotebookForm, 'name'>): string => `${form.name}-workspace`;

export interface Around {
  notebooks: readonly string[];
  claims: readonly string[];
  room?: Room;
}
/** What is wrong, by field: `name`, `data.<id>.claim`, ... */
export type Problems = Record<string, string | undefined>;
/** A field that is still empty is no fault of who has not come to it yet. */
export const isEmptyProblem = (text: string | undefined): boolean => Object.values<string | undefined>(EMPTY).includes(text);

export function problemsOf(form: NotebookForm, around: Around): Problems {
  const wrong: Problems = {};
  const say = (field: string, text: string | undefined) => {
    if (text !== undefined) wrong[field] ??= text;
  };
  say('name', nameProblem(form.name));
  if (around.notebooks.includes(form.name)) say('name', 'There is a notebook of that name.');
  if (form.image.trim() === '') say('image', EMPTY.image);
  else if (/\s/.test(form.image.trim())) say('image', 'A name of an image has no spaces.');
  if (!(form.cpu > 0)) say('cpu', 'Give it more than 0.');
  if (!(form.memory > 0)) say('memory', 'Give it more than 0.');
  const { cpu, memory } = fit(around.room, form.cpu, form.memory);
  say('cpu', cpu);
  say('memory', memory);
  const made = new Set<string>();
  const paths = new Set<string>();
  if (form.workspace === 'new') {
    if (!(form.size > 0)) say('workspace', 'Give it more than 0.');
    if (around.claims.includes(workspaceName(form))) say('workspace', `There is a volume ${workspaceName(form)}: choose it as an existing one, or give the notebook another name.`);
    made.add(workspaceName(form));
  }
  if (form.workspace === 'existing' && form.claim === '') say('workspace', EMPTY.volume);
  if (form.workspace !== 'none') paths.add(HOME);
  for (const volume of form.data) {
    const at = (field: string) => `data.${volume.id}.${field}`;
    if (volume.fresh) {
      say(at('claim'), nameProblem(volume.claim, 63));
      if (around.claims.includes(volume.claim)) say(at('claim'), 'There is a volume of that name.');
      if (made.has(volume.claim)) say(at('claim'), 'Another one here has that name.');
      made.add(volume.claim);
      if (!(volume.size > 0)) say(at('size'), 'Give it more than 0.');
    } else if (volume.claim === '') say(at('claim'), EMPTY.volume);
    const path = volume.path.replace(/(.)\/+$/, '$1');
    if (path === '') say(at('path'), EMPTY.path);
    else if (!path.startsWith('/') || path === '/') say(at('path'), `Write a whole path, such as ${HOME}/data.`);
    else if (/:|(^|\/)\.\.(\/|$)/.test(path)) say(at('path'), 'No ":" and no "..".');
    else if (paths.has(path)) say(at('path'), 'Something else is mounted there.');
    paths.add(path);
  }
  if (form.shm < 0) say('shm', 'Give it 0 or more.');
  else if (form.shm > 0 && form.shm > form.memory) say('shm', 'It is part of the memory above: at most as much.');
  if (form.shm > 0 && paths.has('/dev/shm')) say('shm', 'A volume is mounted at /dev/shm.');
  const names = new Set<string>();
  for (const { id, name } of form.env) {
    if (name === '') say(`env.${id}.name`, EMPTY.name);
    else if (!/^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name)) say(`env.${id}.name`, 'Letters, digits, "_", "-" and ".", and no digit first.');
    else if (names.has(name)) say(`env.${id}.name`, 'It is there twice.');
    names.add(name);
  }
  return wrong;
}

function claim(name: string, ns: string, size: number, mode: string): JsonMap {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace: ns },
    spec: { accessModes: [mode], resources: { requests: { storage: gibQuantity(size) } } },
  };
}

/** The notebook, and the claims that are new with it. */
export function manifests(form: NotebookForm, ns: string, presets: readonly PodDefaultObject[]): { notebook: JsonMap; claims: JsonMap[] } {
  const claims: JsonMap[] = [];
  const volumes: JsonMap[] = [];
  const mounts: JsonMap[] = [];
  const mount = (id: string, claimName: string, path: string, readOnly = false) => {
    // One claim is one volume, however often it is mounted.
    const there = volumes.find((volume) => (volume.persistentVolumeClaim as JsonMap | undefined)?.claimName === claimName);
    if (there === undefined) volumes.push({ name: id, persistentVolumeClaim: { claimName } });
    mounts.push({ name: there?.name ?? id, mountPath: path, ...(readOnly ? { readOnly } : {}) });
  };
  if (form.workspace === 'new') claims.push(claim(workspaceName(form), ns, form.size, 'ReadWriteOnce'));
  if (form.workspace !== 'none') mount('workspace', form.workspace === 'new' ? workspaceName(form) : form.claim, HOME);
  form.data.forEach((volume, i) => {
    if (volume.fresh) claims.push(claim(volume.claim, ns, volume.size, 'ReadWriteMany'));
    mount(`data-${i + 1}`, volume.claim, volume.path.replace(/(.)\/+$/, '$1'), volume.readOnly);
  });
  if (form.shm > 0) {
    volumes.push({ name: 'shm', emptyDir: { medium: 'Memory', sizeLimit: gibQuantity(form.shm) } });
    mounts.push({ name: 'shm', mountPath: '/dev/shm' });
  }
  const labels = Object.assign({}, ...presets.filter((each) => form.presets.includes(each.metadata.name)).map((each) => each.spec?.selector?.matchLabels ?? {})) as Record<string, string>;
  const amount = { cpu: cpuQuantity(form.cpu), memory: gibQuantity(form.memory) };
  const notebook: JsonMap = {
    apiVersion: 'kubeflow.org/v1',
    kind: 'Notebook',
    metadata: {
      name: form.name,
      namespace: ns,
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
      ...(form.idle !== '' ? { annotations: { [IDLE_TIMEOUT]: form.idle } } : {}),
    },
    spec: {
      template: {
        spec: {
          containers: [
            {
              name: form.name,
              image: form.image.trim(),
              resources: { requests: amount, limits: { ...amount } },
              ...(form.env.length > 0 ? { env: form.env.map(({ name, value }) => ({ name, value })) } : {}),
              ...(mounts.length > 0 ? { volumeMounts: mounts } : {}),
            },
          ],
          ...(volumes.length > 0 ? { volumes } : {}),
        },
      },
    },
  };
  return { notebook, claims };
}
