// All runs, live.
import { Button } from '@mantine/core';
import { IconPlayerPlay } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useNames } from '../api/hooks';
import { LinkButton } from '../components/LinkButton';
import { Empty, Page } from '../components/Page';
import { RunList } from '../components/RunList';

const route = getRouteApi('/app/runs');

export function Runs() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs' });
  const names = useNames();
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const experiment = names.experiment(search.experiment) ?? search.experiment;

  return (
    <Page
      title={search.archived ? 'Archived runs' : 'Runs'}
      subtitle={experiment === undefined ? 'Every execution of a pipeline on this box.' : `Of the experiment ${experiment}.`}
      actions={<LinkButton to="/runs/new" search={{ experiment: search.experiment }} leftSection={<IconPlayerPlay size={15} aria-hidden />}>Start a run</LinkButton>}
    >
      <RunList
        search={search}
        set={set}
        experiment={search.experiment}
        more={
          experiment !== undefined && (
            <Button variant="default" onClick={() => set({ experiment: undefined, page: undefined, after: undefined })} rightSection={<span aria-hidden>×</span>}>
              Experiment: {experiment}
            </Button>
          )
        }
        empty={
          <Empty title="No runs yet" action={<LinkButton to="/runs/new" search={{ experiment: search.experiment }}>Start a run</LinkButton>}>
            A run executes a pipeline once, with the parameters you give, and keeps its logs, metrics and files.
          </Empty>
        }
      />
    </Page>
  );
}
