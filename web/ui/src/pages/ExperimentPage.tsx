// One experiment: what it is for, its runs, and putting it away.
import { Badge, Button } from '@mantine/core';
import { IconArchive, IconArchiveOff, IconPlayerPlay, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useLiveExperiment } from '../api/hooks';
import { ApiError } from '../api/http';
import type { KfpExperiment } from '../api/types';
import { LinkButton } from '../components/LinkButton';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { RunList } from '../components/RunList';
import { Age } from '../components/Time';
import { isPutAway, nameOf, useExperimentActions } from '../components/useExperimentActions';
import { parseTime } from '../lib/format';

const route = getRouteApi('/app/experiments/$experimentId');
const crumbs = [{ label: 'Experiments', to: '/experiments' }];

export function ExperimentPage() {
  const { experimentId } = route.useParams();
  const { data, error, refetch } = useLiveExperiment(experimentId);
  if (error !== null && (data === undefined || (error instanceof ApiError && error.status === 404))) {
    return <Page title="Experiment" crumbs={crumbs}><Problem error={error} what="experiment" onRetry={() => void refetch()} /></Page>;
  }
  return data === undefined ? <Loading what="the experiment" /> : <ExperimentView key={experimentId} experiment={data} />;
}

function ExperimentView({ experiment }: { experiment: KfpExperiment }) {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/experiments/$experimentId' });
  const { archive, restore, remove } = useExperimentActions(experiment);
  const id = experiment.experiment_id;
  const archived = isPutAway(experiment);
  const last = parseTime(experiment.last_run_created_at) ?? 0;
  const start = <LinkButton to="/runs/new" search={{ experiment: id }} leftSection={<IconPlayerPlay size={15} aria-hidden />}>New run</LinkButton>;
  const leave = async () => {
    if (await remove()) await navigate({ to: '/experiments', search: {} });
  };
  return (
    <Page
      title={nameOf(experiment)}
      crumbs={crumbs}
      subtitle={
        <>
          {experiment.description !== undefined && <div style={{ color: 'var(--mantine-color-text)', whiteSpace: 'pre-line', maxWidth: '80ch' }}>{experiment.description}</div>}
          <div style={{ display: 'flex', flexWrap: 'wrap', gap: '4px 10px', alignItems: 'center' }}>
            <Badge variant="default" radius="sm" tt="none" fw={500} data-storage-state={experiment.storage_state}>{archived ? 'Archived' : 'Active'}</Badge>
            <span>Created <Age at={experiment.created_at} />{last > 0 ? <>, last run <Age at={experiment.last_run_created_at} /></> : ', no run yet'}</span>
          </div>
        </>
      }
      actions={
        <>
          {archived ? (
            <Button leftSection={<IconArchiveOff size={15} aria-hidden />} onClick={() => void restore()}>Restore</Button>
          ) : (
            <>
              {start}
              <Button variant="default" leftSection={<IconArchive size={15} aria-hidden />} onClick={() => void archive()}>Archive</Button>
            </>
          )}
          <Button variant="default" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void leave()}>Delete</Button>
        </>
      }
    >
      <RunList
        search={search}
        set={(patch) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true })}
        experiment={id}
        showExperiment={false}
        empty={
          archived ? (
            <Empty title="No active runs">The experiment is archived, and its runs with it. Restore it to start runs again.</Empty>
          ) : (
            <Empty title="No runs in this experiment yet" action={start}>Start one here, or choose this experiment when you start a run elsewhere.</Empty>
          )
        }
      />
    </Page>
  );
}
