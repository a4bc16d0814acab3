// The KFP v2beta1 calls the UI makes: details, mutations, uploads. Lists that must be live go through watch.ts.
import { ApiError, errorText, getJson, query, request, send } from './http';
import type {
  CreateRunRequest,
  JsonMap,
  KfpExperiment,
  KfpPipeline,
  KfpPipelineVersion,
  KfpRun,
} from './types';

const base = '/apis/v2beta1';
const id = encodeURIComponent;

interface Page {
  next_page_token?: string;
  total_size?: number;
}

/** A page of runs: which, in what order, how many, from where on. */
export interface RunsQuery {
  experiment_id?: string;
  filter?: string;
  sort_by?: string;
  page_size?: number;
  page_token?: string;
}

/** All pages of a list; the box pages at 200. */
async function all<P extends Page, T>(path: string, pick: (page: P) => T[] | undefined, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let token: string | undefined;
  do {
    const page: P = await getJson<P>(
      path + query({ page_size: 200, sort_by: 'created_at desc', page_token: token }),
      signal,
    );
    items.push(...(pick(page) ?? []));
    token = page.next_page_token || undefined;
  } while (token !== undefined);
  return items;
}

export const kfp = {
  pipelines: (signal?: AbortSignal) =>
    all((`${base}/pipelines`), (page: Page & { pipelines?: KfpPipeline[] }) => page.pipelines, signal),
  pipeline: (pipeline: string, signal?: AbortSignal) => getJson<KfpPipeline>(`${base}/pipelines/${id(pipeline)}`, signal),
  deletePipeline: (pipeline: string) => send('DELETE', `${base}/pipelines/${id(pipeline)}?cascade=true`),
  versions: (pipeline: string, signal?: AbortSignal) =>
    all(
      `${base}/pipelines/${id(pipeline)}/versions`,
      (page: Page & { pipeline_versions?: KfpPipelineVersion[] }) => page.pipeline_versions,
      signal,
    ),
  version: (pipeline: string, version: string, signal?: AbortSignal) =>
    getJson<KfpPipelineVersion>(`${base}/pipelines/${id(pipeline)}/versions/${id(version)}`, signal),
  deleteVersion: (pipeline: string, version: string) =>
    send('DELETE', `${base}/pipelines/${id(pipeline)}/versions/${id(version)}`),

  experiments: (signal?: AbortSignal) =>
    all(`${base}/experiments`, (page: Page & { experiments?: KfpExperiment[] }) => page.experiments, signal),
  createExperiment: (body: { display_name: string; description?: string }) =>
    send<KfpExperiment>('POST', `${base}/experiments`, body),
  experiment: (experiment: string, signal?: AbortSignal) => getJson<KfpExperiment>(`${base}/experiments/${id(experiment)}`, signal),
  experimentAction: (experiment: string, action: 'archive' | 'unarchive') =>
    send<JsonMap>('POST', `${base}/experiments/${id(experiment)}:${action}`),
  deleteExperiment: (experiment: string) => send('DELETE', `${base}/experiments/${id(experiment)}`),

  runs: (which: RunsQuery, signal?: AbortSignal) => getJson<Page & { runs?: KfpRun[] }>(`${base}/runs${query({ ...which })}`, signal),
  run: (run: string, signal?: AbortSignal) => getJson<KfpRun>(`${base}/runs/${id(run)}`, signal),
  createRun: (body: CreateRunRequest) => send<KfpRun>('POST', `${base}/runs`, body),
  runAction: (run: string, action: 'archive' | 'unarchive' | 'terminate' | 'retry') =>
    send<JsonMap>('POST', `${base}/runs/${id(run)}:${action}`),
  deleteRun: (run: string) => send('DELETE', `${base}/runs/${id(run)}`),
};

export interface UploadTarget {
  /** Set: a new version of this pipeline. Unset: a new pipeline. */
  pipelineId?: string;
  name: string;
  description?: string;
}

/** Uploads with a progress number, which fetch cannot give. */
export function upload<T extends KfpPipeline | KfpPipelineVersion>(
  file: File,
  target: UploadTarget,
  onProgress: (percent: number) => void,
): Promise<T> {
  const path =
    target.pipelineId === undefined
      ? `${base}/pipelines/upload${query({ name: target.name, description: target.description })}`
      : `${base}/pipelines/upload_version${query({ name: target.name, pipelineid: target.pipelineId, description: target.description })}`;
  const form = new FormData();
  form.append('uploadfile', file, file.name);
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open('POST', path);
    xhr.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(Math.round((event.loaded / event.total) * 100));
    };
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) {
        resolve(JSON.parse(xhr.responseText) as T);
        return;
      }
      const { message, details } = errorText(xhr.status, xhr.responseText);
      reject(new ApiError(xhr.status, message, details));
    };
    xhr.onerror = () => reject(new ApiError(0, 'The upload was cut off. The file may be too large, or the box is down.'));
    xhr.send(form);
  });
}

export async function whoAmI(): Promise<string> {
  const review = await send<{ status?: { userInfo?: { username?: string } } }>(
    'POST',
    '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    {},
  );
  return review.status?.userInfo?.username ?? 'unknown';
}

export const login = (token: string) => send('POST', '/auth/login', { token });
export const logout = () => request('/auth/logout', { method: 'POST' });
