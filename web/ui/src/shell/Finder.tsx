// Ctrl-K: finds runs, pipelines, notebooks, places and actions. Loaded on first use.
import { useMantineColorScheme } from '@mantine/core';
import { Spotlight, spotlight, type SpotlightActionGroupData } from '@mantine/spotlight';
import { IconSearch } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo } from 'react';
import { useQuery } from '@tanstack/react-query';
import { NAMESPACE, useNames, usePipelines, useRuns } from '../api/hooks';
import { getJson } from '../api/http';
import { NOTEBOOK } from '../api/notebooks';
import type { KubeList, NotebookObject } from '../api/types';
import { StateIcon } from '../components/State';
import { age } from '../lib/format';
import { objectPath } from '../lib/jobs';
import { imageOf, notebookState, shortImage } from '../lib/notebooks';
import { look, runState } from '../lib/state';

export default function Finder({ openings }: { openings: number }) {
  useEffect(() => spotlight.open(), [openings]);
  const navigate = useNavigate();
  const { toggleColorScheme } = useMantineColorScheme();
  const { items: runs } = useRuns();
  const { data: pipelines } = usePipelines();
  const names = useNames();
  // As they are when it opens: it goes on to exist when it is closed, and a stream for that would be one too many.
  const { data: notebooks } = useQuery({
    queryKey: ['notebooks to find', openings],
    queryFn: async ({ signal }) => (await getJson<KubeList<NotebookObject>>(objectPath(NOTEBOOK, NAMESPACE), signal)).items,
    gcTime: 0,
  });

  const actions = useMemo<SpotlightActionGroupData[]>(() => {
    const newest = [...(runs ?? [])].sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp));
    return [
      {
        group: 'Actions',
        actions: [
          { id: 'start', label: 'Start a run', onClick: () => void navigate({ to: '/runs/new' }) },
          { id: 'notebook', label: 'New notebook', onClick: () => void navigate({ to: '/notebooks/new' }) },
          { id: 'notebooks', label: 'Show the notebooks', onClick: () => void navigate({ to: '/notebooks' }) },
          { id: 'upload', label: 'Upload a pipeline', onClick: () => void navigate({ to: '/pipelines', search: { upload: true } }) },
          { id: 'failed', label: 'Show failed runs', onClick: () => void navigate({ to: '/runs', search: { state: 'FAILED' } }) },
          { id: 'scheme', label: 'Switch between light and dark', onClick: toggleColorScheme },
          { id: 'docs', label: 'Open the docs', onClick: () => void navigate({ to: '/docs' }) },
        ],
      },
      {
        group: 'Pipelines',
        actions: (pipelines ?? []).map((pipeline) => ({
          id: `pipeline-${pipeline.pipeline_id}`,
          label: pipeline.display_name ?? pipeline.name ?? pipeline.pipeline_id,
          description: pipeline.description,
          onClick: () => void navigate({ to: '/pipelines/$pipelineId', params: { pipelineId: pipeline.pipeline_id } }),
        })),
      },
      {
        group: 'Notebooks',
        actions: (notebooks ?? []).map((notebook) => ({
          id: `notebook-${notebook.metadata.uid}`,
          label: notebook.metadata.name,
          description: `${look(notebookState(notebook)).word} · ${shortImage(imageOf(notebook))}`,
          leftSection: <StateIcon state={notebookState(notebook)} />,
          onClick: () => void navigate({ to: '/notebooks/$ns/$name', params: { ns: NAMESPACE, name: notebook.metadata.name } }),
        })),
      },
      {
        group: 'Runs',
        actions: newest.map((run) => ({
          id: `run-${run.metadata.name}`,
          label: run.spec.displayName ?? run.metadata.name,
          description: [look(runState(run)).word, names.pipeline(run.spec.pipelineVersionReference?.pipelineId), age(run.metadata.creationTimestamp, Date.now())]
            .filter(Boolean)
            .join(' · '),
          keywords: [run.metadata.name],
          leftSection: <StateIcon state={runState(run)} />,
          onClick: () => void navigate({ to: '/runs/$runId', params: { runId: run.metadata.name } }),
        })),
      },
    ];
  }, [runs, pipelines, notebooks, names, navigate, toggleColorScheme]);

  return (
    <Spotlight
      actions={actions}
      shortcut={null}
      limit={10}
      highlightQuery
      overlayProps={{ blur: 0, backgroundOpacity: 0.45 }}
      attributes={{ content: { 'aria-label': 'Find' } }}
      nothingFound="Nothing found"
      searchProps={{
        leftSection: <IconSearch size={18} stroke={1.6} aria-hidden />,
        placeholder: 'Find runs, pipelines, notebooks…',
        'aria-label': 'Find runs, pipelines and actions',
      }}
    />
  );
}
