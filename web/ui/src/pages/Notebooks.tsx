// The notebooks of a namespace, live: open, stop, start and delete them, one or many.
import { Button, Group, NativeSelect, Text } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { NAMESPACE } from '../api/hooks';
import { useNotebooks } from '../api/notebooks';
import type { NotebookObject } from '../api/types';
import { DataTable, type Column } from '../components/DataTable';
import { NameFilter } from '../components/filters';
import { LinkButton } from '../components/LinkButton';
import { DeleteNotebooks, OpenNotebook, useNotebookActions } from '../components/notebookActions';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age } from '../components/Time';
import { asked, askedWords, canOpen, imageOf, isWanted, lastUsed, NOTEBOOK_STATES, notebookState, reasonOf, shortImage } from '../lib/notebooks';
import { look } from '../lib/state';

const route = getRouteApi('/app/notebooks');
const NONE: NotebookObject[] = [];

export function Notebooks() {
  const search = route.useSearch();
  const ns = search.ns ?? NAMESPACE;
  const navigate = useNavigate({ from: '/notebooks' });
  const { items, error } = useNotebooks(ns);
  const { stop, start } = useNotebookActions();
  const [going, setGoing] = useState(NONE);
  const rows = useMemo(
    () =>
      (items ?? []).filter(
        (notebook) =>
          (search.q === undefined || notebook.metadata.name.includes(search.q)) &&
          (search.state === undefined || notebookState(notebook) === search.state),
      ),
    [items, search.q, search.state],
  );
  const columns: Column<NotebookObject>[] = [
    {
      id: 'name',
      header: 'Notebook',
      sortBy: (notebook) => notebook.metadata.name,
      cell: (notebook) => (
        <Link to="/notebooks/$ns/$name" params={{ ns: notebook.metadata.namespace ?? ns, name: notebook.metadata.name }} className="kf-link" style={{ fontWeight: 500, display: 'inline-block', minWidth: 'min(150px, 20vw)' }}>
          {notebook.metadata.name}
        </Link>
      ),
    },
    {
      id: 'state',
      header: 'State',
      sortBy: (notebook) => look(notebookState(notebook)).word,
      cell: (notebook) => (
        <>
          <StateBadge state={notebookState(notebook)} />
          {notebookState(notebook) !== 'SERVING' && reasonOf(notebook) !== '' && (
            <Text size="xs" c="dimmed" maw="min(220px, 22vw)" truncate title={reasonOf(notebook)}>{reasonOf(notebook)}</Text>
          )}
        </>
      ),
    },
    { id: 'image', header: 'Image', sortBy: (notebook) => shortImage(imageOf(notebook)), cell: (notebook) => <span title={imageOf(notebook)}>{shortImage(imageOf(notebook))}</span>, minor: true },
    { id: 'asked', header: 'CPU, memory', sortBy: (notebook) => asked(notebook).memory ?? 0, cell: (notebook) => <span style={{ whiteSpace: 'nowrap' }}>{askedWords(notebook)}</span>, width: 140, minor: true },
    {
      id: 'used',
      header: 'Last used',
      sortBy: (notebook) => lastUsed(notebook) ?? '',
      cell: (notebook) => (lastUsed(notebook) === undefined ? <Text span size="sm" c="dimmed">Not known</Text> : <Age at={lastUsed(notebook)} />),
      width: 110,
      minor: true,
    },
    { id: 'created', header: 'Age', sortBy: (notebook) => notebook.metadata.creationTimestamp, cell: (notebook) => <Age at={notebook.metadata.creationTimestamp} />, width: 100, minor: true },
    {
      id: 'actions',
      header: 'Actions',
      cell: (notebook) => {
        const { name } = notebook.metadata;
        return (
          <Group gap={4} wrap="nowrap">
            {canOpen(notebook) && <OpenNotebook notebook={notebook} size="compact-xs" />}
            {isWanted(notebook) ? (
              <Button size="compact-xs" variant="default" aria-label={`Stop ${name}`} onClick={() => void stop([notebook])}>Stop</Button>
            ) : (
              <Button size="compact-xs" variant="default" aria-label={`Start ${name}`} onClick={() => void start([notebook])}>Start</Button>
            )}
            <Button size="compact-xs" variant="default" aria-label={`Delete ${name}`} onClick={() => setGoing([notebook])}>Delete</Button>
          </Group>
        );
      },
      width: 190,
    },
  ];
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, page: undefined, ...patch }), replace: true });
  const filtered = search.q !== undefined || search.state !== undefined;
  const create = <LinkButton to="/notebooks/new" search={{ ns: search.ns }} leftSection={<IconPlus size={15} aria-hidden />}>New notebook</LinkButton>;

  return (
    <Page title="Notebooks" subtitle={`Servers to work in, in the namespace ${ns}: JupyterLab and others, in the browser.`} actions={create}>
      <Group gap="xs">
        <NameFilter value={search.q} onChange={(q) => set({ q })} />
        <NativeSelect
          aria-label="State"
          value={search.state ?? ''}
          onChange={(event) => set({ state: event.currentTarget.value || undefined })}
          data={[{ value: '', label: 'Any state' }, ...NOTEBOOK_STATES.map((state) => ({ value: state, label: look(state).word }))]}
        />
      </Group>
      {error !== null ? (
        <Problem error={error} what="list of notebooks" />
      ) : items === undefined ? (
        <Loading what="notebooks" />
      ) : (
        <DataTable
          label="Notebooks"
          rows={rows}
          columns={columns}
          rowId={(notebook) => notebook.metadata.name}
          rowLabel={(notebook) => notebook.metadata.name}
          view={{ sort: search.sort, page: search.page }}
          defaultSort="-created"
          onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
          bulk={(selected) => (
            <>
              <Button size="compact-xs" variant="default" disabled={!selected.some(isWanted)} onClick={() => void stop(selected.filter(isWanted))}>Stop</Button>
              <Button size="compact-xs" variant="default" disabled={selected.every(isWanted)} onClick={() => void start(selected.filter((each) => !isWanted(each)))}>Start</Button>
              <Button size="compact-xs" variant="default" onClick={() => setGoing(selected)}>Delete</Button>
            </>
          )}
          empty={
            filtered ? (
              <Empty title="No notebook matches">Change or clear the filters to see more.</Empty>
            ) : (
              <Empty title="No notebooks yet" action={create}>A notebook is a server of your own to write and run code in, signed in to everything on the box.</Empty>
            )
          }
        />
      )}
      <DeleteNotebooks ns={ns} going={going} onClose={() => setGoing(NONE)} onDeleted={() => undefined} />
    </Page>
  );
}
