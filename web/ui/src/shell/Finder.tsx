// Ctrl-K: finds runs, pipelines, places and actions. Loaded on first use.
import { useMantineColorScheme } from '@mantine/core';
import { Spotlight, spotlight, type SpotlightActionGroupData } from '@mantine/spotlight';
import { IconSearch } from '@tabler/icons-react';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo } from 'react';
import { useNames, usePipelines, useRuns } from '../api/hooks';
import { StateIcon } from '../components/State';
import { age } from '../lib/format';
import { look, runState } from '../lib/state';

export default function Finder({ openings }: { openings: number }) {
  useEffect(() => spotlight.open(), [openings]);
  const navigate = useNavigate();
  const { toggleColorScheme } = useMantineColorScheme();
  const { items: runs } = useRuns();
  const { data: pipelines } = usePipelines();
  const names = useNames();

  const actions = useMemo<SpotlightActionGroupData[]>(() => {
    const newest = [...(runs ?? [])].sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp));
    return [
      {
        group: 'Actions',
        actions: [
          { id: 'start', label: 'Start a run', onClick: () => void navigate({ to: '/runs/new' }) },
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
  }, [runs, pipelines, names, navigate, toggleColorScheme]);

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
        placeholder: 'Find runs, pipelines, actions…',
        'aria-label': 'Find runs, pipelines and actions',
      }}
    />
  );
}
