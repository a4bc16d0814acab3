// What pages ask for, by name: live lists of each kind, and the details that only the KFP API has.
import { useQuery } from '@tanstack/react-query';
import { useEffect, useMemo, useRef } from 'react';
import { query } from './http';
import { kfp } from './kfp';
import { queryClient } from './queryClient';
import type { NamedObject, RunObject, TaskObject } from './types';
import { useWatch, type Live } from './watch';

/** The box has one namespace so far; every path goes through here. */
export const NAMESPACE = 'kubeflow';
const group = `/apis/pipelines.kubeflow.org/v2beta1/namespaces/${NAMESPACE}`;

export const RUNS = `${group}/runs`;
export const useRuns = (): Live<RunObject> => useWatch<RunObject>(RUNS);
export const useRunObject = (runId: string): Live<RunObject> =>
  useWatch<RunObject>(`${RUNS}${query({ fieldSelector: `metadata.name=${runId}` })}`);
export const useTasks = (runId: string): Live<TaskObject> =>
  useWatch<TaskObject>(`${group}/tasks${query({ labelSelector: `pipeline/runid=${runId}` })}`);

export const useRunDetails = (runId: string) =>
  useQuery({ queryKey: ['run', runId], queryFn: ({ signal }) => kfp.run(runId, signal) });
export const usePipelines = () =>
  useQuery({ queryKey: ['pipelines'], queryFn: ({ signal }) => kfp.pipelines(signal) });
export function useLivePipelines() {
  useFollow('pipelines');
  return usePipelines();
}
export const usePipeline = (id: string | undefined) =>
  useQuery({
    queryKey: ['pipeline', id],
    queryFn: ({ signal }) => kfp.pipeline(id ?? '', signal),
    enabled: id !== undefined,
  });
export const useVersions = (id: string | undefined) =>
  useQuery({
    queryKey: ['versions', id],
    queryFn: ({ signal }) => kfp.versions(id ?? '', signal),
    enabled: id !== undefined,
  });
export const useVersion = (pipeline: string | undefined, version: string | undefined) =>
  useQuery({
    queryKey: ['version', pipeline, version],
    queryFn: ({ signal }) => kfp.version(pipeline ?? '', version ?? '', signal),
    enabled: pipeline !== undefined && version !== undefined,
  });
export const useExperiments = () =>
  useQuery({ queryKey: ['experiments'], queryFn: ({ signal }) => kfp.experiments(signal) });
export function useLiveExperiments() {
  useFollow('experiments');
  return useExperiments();
}
export function useLiveExperiment(id: string) {
  useFollow('experiments');
  return useQuery({ queryKey: ['experiments', id], queryFn: ({ signal }) => kfp.experiment(id, signal) });
}

/** The details come from the KFP API; the watch says when they changed. */
function useFollow(kind: 'pipelines' | 'experiments'): void {
  const { items } = useWatch<NamedObject>(`${group}/${kind}`);
  const first = useRef(true);
  useEffect(() => {
    if (items === undefined) return;
    if (!first.current) void queryClient.invalidateQueries({ queryKey: [kind] });
    first.current = false;
  }, [items, kind]);
}

const asked = new Set<string>();
/** A live list may name a pipeline that is newer than our names: fetch them again, once for each unknown id. */
function ask(kind: 'pipelines' | 'experiments', id: string): undefined {
  if (asked.has(id)) return;
  asked.add(id);
  setTimeout(() => void queryClient.invalidateQueries({ queryKey: [kind] }));
}

/** Names for the ids that runs carry. */
export function useNames(): { pipeline: (id?: string) => string | undefined; experiment: (id?: string) => string | undefined } {
  const pipelines = usePipelines().data;
  const experiments = useExperiments().data;
  return useMemo(() => {
    const byPipeline = new Map(pipelines?.map((p) => [p.pipeline_id, p.display_name ?? p.name ?? p.pipeline_id]));
    const byExperiment = new Map(experiments?.map((e) => [e.experiment_id, e.display_name ?? e.experiment_id]));
    return {
      pipeline: (id) => (id === undefined || pipelines === undefined ? undefined : (byPipeline.get(id) ?? ask('pipelines', id))),
      experiment: (id) => (id === undefined || experiments === undefined ? undefined : (byExperiment.get(id) ?? ask('experiments', id))),
    };
  }, [pipelines, experiments]);
}
