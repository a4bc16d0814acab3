// One notebook: its state in a sentence, the way in, what it has and mounts, its log, events, YAML to read and edit.
import { Button, Tabs } from '@mantine/core';
import { IconPlayerPlay, IconPlayerStop, IconRefresh, IconTrash } from '@tabler/icons-react';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { ApiError } from '../api/http';
import { usePods } from '../api/kube';
import { useNotebook } from '../api/notebooks';
import type { EventObject, NotebookObject } from '../api/types';
import { CopyAs } from '../components/CopyAs';
import { EventTable } from '../components/EventTable';
import { LogView } from '../components/LogView';
import { DeleteNotebooks, OpenNotebook, useNotebookActions } from '../components/notebookActions';
import { NotebookOverview } from '../components/NotebookOverview';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age, useNow } from '../components/Time';
import { YamlTab } from '../components/YamlTab';
import { podState } from '../lib/jobs';
import { canOpen, isWanted, NOTEBOOK_LABEL, notebookSentence, notebookState, server } from '../lib/notebooks';
import { notebookSnippets } from '../lib/snippets';

const route = getRouteApi('/app/notebooks/$ns/$name');

export function NotebookPage() {
  const { ns, name } = route.useParams();
  const { items, error } = useNotebook(ns, name);
  const notebook = items?.[0];
  const missing = items !== undefined && notebook === undefined ? new ApiError(404, `notebooks "${name}" is not in the namespace ${ns}`) : null;
  const crumbs = [{ label: 'Notebooks', to: '/notebooks' }];
  if ((error ?? missing) !== null) return <Page title={name} crumbs={crumbs}><Problem error={(error ?? missing) as Error} what="notebook" /></Page>;
  return notebook === undefined ? <Loading what="the notebook" /> : <View notebook={notebook} />;
}

function View({ notebook }: { notebook: NotebookObject }) {
  const { ns, name } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/notebooks/$ns/$name' });
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const pods = usePods(ns, `${NOTEBOOK_LABEL}=${name}`).items ?? [];
  const pod = pods.find((each) => each.metadata.name === `${name}-0`);
  const full = { flex: 1, display: 'flex', flexDirection: 'column', gap: 8 } as const;
  const concerns = ({ involvedObject: about }: EventObject) =>
    (about?.name === name && ['Notebook', 'StatefulSet'].includes(about.kind ?? '')) || (about?.kind === 'Pod' && about.name === `${name}-0`);
  return (
    <Page
      full
      title={name}
      crumbs={[{ label: 'Notebooks', to: '/notebooks' }]}
      subtitle={
        <div style={{ display: 'flex', flexWrap: 'wrap', gap: '4px 10px', alignItems: 'center' }}>
          <StateBadge state={notebookState(notebook)} large />
          <Sentence notebook={notebook} />
          <span>In {ns}, created <Age at={notebook.metadata.creationTimestamp} /></span>
        </div>
      }
      actions={<Actions notebook={notebook} />}
    >
      <Tabs value={search.tab ?? 'overview'} onChange={(next) => set({ tab: next ?? undefined })} keepMounted={false} style={{ flex: 1, display: 'flex', flexDirection: 'column' }}>
        <Tabs.List>
          <Tabs.Tab value="overview">Overview</Tabs.Tab>
          <Tabs.Tab value="logs">Logs</Tabs.Tab>
          <Tabs.Tab value="events">Events</Tabs.Tab>
          <Tabs.Tab value="yaml">YAML</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="overview" pt="sm"><NotebookOverview notebook={notebook} /></Tabs.Panel>
        <Tabs.Panel value="logs" pt="sm" style={full}>
          {pod === undefined ? (
            <Empty title="No log now">{isWanted(notebook) ? 'The log begins when the server starts.' : 'A notebook that is stopped has no log: start it to have one.'}</Empty>
          ) : (
            <div className="kf-card" style={{ flex: 1, minHeight: 320, display: 'flex', flexDirection: 'column' }}>
              <LogView key={pod.metadata.uid} namespace={ns} pod={pod.metadata.name} container={server(notebook)?.name} active={podState(pod) === 'PENDING' || podState(pod) === 'RUNNING'} />
            </div>
          )}
        </Tabs.Panel>
        <Tabs.Panel value="events" pt="sm"><EventTable ns={ns} concerns={concerns} empty="What happens to the notebook and its pod is told here." /></Tabs.Panel>
        <Tabs.Panel value="yaml" pt="sm" style={full}>
          <YamlTab object={notebook} word="notebook" editing={search.edit === true} onEditing={(edit) => set({ edit: edit || undefined })} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

/** Alone, so that the ticking clock redraws one line and not the page. */
function Sentence({ notebook }: { notebook: NotebookObject }) {
  const now = useNow();
  return <span style={{ color: 'var(--mantine-color-text)', overflowWrap: 'anywhere' }}>{notebookSentence(notebook, Math.max(now, Date.now() - 1000))}</span>;
}

const NONE: NotebookObject[] = [];

function Actions({ notebook }: { notebook: NotebookObject }) {
  const { ns, name } = route.useParams();
  const navigate = useNavigate();
  const { stop, start, restart } = useNotebookActions();
  const [going, setGoing] = useState(NONE);
  const wanted = isWanted(notebook);
  return (
    <>
      {canOpen(notebook) && <OpenNotebook notebook={notebook} size="sm" />}
      {wanted ? (
        <>
          <Button variant="default" leftSection={<IconPlayerStop size={15} aria-hidden />} onClick={() => void stop([notebook])}>Stop</Button>
          <Button variant="default" leftSection={<IconRefresh size={15} aria-hidden />} onClick={() => void restart(notebook)}>Restart</Button>
        </>
      ) : (
        <Button variant={canOpen(notebook) ? 'default' : 'filled'} leftSection={<IconPlayerPlay size={15} aria-hidden />} onClick={() => void start([notebook])}>Start</Button>
      )}
      <CopyAs snippets={notebookSnippets(window.location.origin, ns, name)} />
      <Button variant="default" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => setGoing([notebook])}>Delete</Button>
      <DeleteNotebooks ns={ns} going={going} onClose={() => setGoing(NONE)} onDeleted={() => void navigate({ to: '/notebooks', search: { ns } })} />
    </>
  );
}
