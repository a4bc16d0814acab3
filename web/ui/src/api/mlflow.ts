// The calls to the box's MLflow API: experiments, runs, metrics, files, and changes to the registry of models.
import type { FileInfo, LoggedModel, MetricPoint, TrackedExperiment, TrackedRun } from '../lib/tracking';
import { query, request } from './http';

type Params = Record<string, string | number | boolean | undefined>;

const root = (ns: string) => `/mlflow/${encodeURIComponent(ns)}/api/2.0/mlflow/`;
const get = async <T>(ns: string, call: string, params: Params, signal?: AbortSignal): Promise<T> =>
  (await (await request(root(ns) + call + query(params), { signal, headers: { Accept: 'application/json' } })).json()) as T;
const send = async <T>(ns: string, method: 'POST' | 'PATCH' | 'DELETE', call: string, body: unknown, signal?: AbortSignal): Promise<T> =>
  (await (await request(root(ns) + call, { method, signal, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) })).json()) as T;

/** How many runs one request brings. */
export const RUNS = 100;
/** How many points of a curve are drawn. */
const POINTS = 1000;

export interface RunQuery {
  filter?: string;
  /** As the search language writes it, such as `metrics.loss DESC`. */
  order?: string;
  deleted?: boolean;
  after?: string;
}

export const mlflow = {
  experiments: async (ns: string, deleted: boolean, signal?: AbortSignal): Promise<TrackedExperiment[]> =>
    (await get<{ experiments?: TrackedExperiment[] }>(ns, 'experiments/search', { max_results: 50_000, view_type: deleted ? 'DELETED_ONLY' : 'ACTIVE_ONLY' }, signal)).experiments ?? [],
  experiment: async (ns: string, id: string, signal?: AbortSignal): Promise<TrackedExperiment> =>
    (await get<{ experiment: TrackedExperiment }>(ns, 'experiments/get', { experiment_id: id }, signal)).experiment,
  createExperiment: (ns: string, name: string) => send<{ experiment_id: string }>(ns, 'POST', 'experiments/create', { name }),
  renameExperiment: (ns: string, id: string, name: string) => send(ns, 'POST', 'experiments/update', { experiment_id: id, new_name: name }),
  deleteExperiment: (ns: string, id: string) => send(ns, 'POST', 'experiments/delete', { experiment_id: id }),
  restoreExperiment: (ns: string, id: string) => send(ns, 'POST', 'experiments/restore', { experiment_id: id }),
  runs: (ns: string, experiment: string, asked: RunQuery, signal?: AbortSignal) =>
    send<{ runs?: TrackedRun[]; next_page_token?: string }>(ns, 'POST', 'runs/search', {
      experiment_ids: [experiment],
      filter: asked.filter,
      order_by: asked.order === undefined ? [] : [asked.order],
      run_view_type: asked.deleted === true ? 'DELETED_ONLY' : 'ACTIVE_ONLY',
      max_results: RUNS,
      page_token: asked.after,
    }, signal),
  run: async (ns: string, id: string, signal?: AbortSignal): Promise<TrackedRun> => (await get<{ run: TrackedRun }>(ns, 'runs/get', { run_id: id }, signal)).run,
  deleteRun: (ns: string, id: string) => send(ns, 'POST', 'runs/delete', { run_id: id }),
  restoreRun: (ns: string, id: string) => send(ns, 'POST', 'runs/restore', { run_id: id }),
  /** The points of a metric in several runs, thinned out. */
  points: async (ns: string, runs: string[], key: string, signal?: AbortSignal): Promise<MetricPoint[]> => {
    const ids = runs.map((id) => `&run_ids=${encodeURIComponent(id)}`).join('');
    const call = `metrics/get-history-bulk-interval${query({ metric_key: key, max_results: POINTS })}${ids}`;
    return (await get<{ metrics: MetricPoint[] }>(ns, call, {}, signal)).metrics;
  },
  files: async (ns: string, run: string, path: string, signal?: AbortSignal): Promise<FileInfo[]> =>
    (await get<{ files?: FileInfo[] }>(ns, 'artifacts/list', { run_id: run, path }, signal)).files ?? [],
  loggedModel: async (ns: string, id: string, signal?: AbortSignal): Promise<LoggedModel> =>
    (await get<{ model: LoggedModel }>(ns, `logged-models/${encodeURIComponent(id)}`, {}, signal)).model,

  createModel: (ns: string, name: string, description: string) => send(ns, 'POST', 'registered-models/create', { name, description }),
  describeModel: (ns: string, name: string, description: string) => send(ns, 'PATCH', 'registered-models/update', { name, description }),
  deleteModel: (ns: string, name: string) => send(ns, 'DELETE', 'registered-models/delete', { name }),
  createVersion: (ns: string, name: string, source: string, more: { run_id?: string; model_id?: string }) =>
    send<{ model_version: { version: string } }>(ns, 'POST', 'model-versions/create', { name, source, ...more }),
  describeVersion: (ns: string, name: string, version: string, description: string) => send(ns, 'PATCH', 'model-versions/update', { name, version, description }),
  deleteVersion: (ns: string, name: string, version: string) => send(ns, 'DELETE', 'model-versions/delete', { name, version }),
  setAlias: (ns: string, name: string, alias: string, version: string) => send(ns, 'POST', 'registered-models/alias', { name, alias, version }),
  removeAlias: (ns: string, name: string, alias: string) => send(ns, 'DELETE', 'registered-models/alias', { name, alias }),
  setStage: (ns: string, name: string, version: string, stage: string) =>
    send(ns, 'POST', 'model-versions/transition-stage', { name, version, stage, archive_existing_versions: false }),
};
