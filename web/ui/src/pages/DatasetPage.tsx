// One data set: what is not committed yet, its history, and what differs between two commits.
import { ActionIcon, Badge, Button, Code, Group, Menu, Modal, NativeSelect, Stack, Tabs, Text, Textarea, TextInput } from '@mantine/core';
import { IconDots, IconFolderOpen, IconGitBranch, IconGitCommit, IconTrash, IconX } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { datasets, short, useCommits, useDatasets, type DatasetCommit } from '../api/datasets';
import { ApiError } from '../api/http';
import { whoAmI } from '../api/kfp';
import { CopyAs, CopyButton } from '../components/CopyAs';
import { DataTable, type Column } from '../components/DataTable';
import { DiffView } from '../components/DiffView';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, toastDone, useConfirm } from '../components/feedback';
import { LinkButton } from '../components/LinkButton';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { StateBadge } from '../components/State';
import { Age } from '../components/Time';
import { bytes } from '../lib/format';

const route = getRouteApi('/app/datasets/$ns/$name');
const states: Record<string, string> = { Pending: 'RUNNING', Ready: 'FINISHED', Unchanged: 'CACHED', Failed: 'FAILED' };
type Asked = { what: 'commit' } | { what: 'branch' } | { what: 'tag'; commit: DatasetCommit };

export function DatasetPage() {
  const { ns, name } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/datasets/$ns/$name' });
  const confirm = useConfirm();
  const all = useDatasets(ns);
  const commits = useCommits(ns);
  const [asked, setAsked] = useState<Asked>();
  const crumbs = [{ label: 'Data sets', to: `/datasets?ns=${ns}` }];
  const data = all.items?.find((each) => each.metadata.name === name);
  const error = all.error ?? commits.error ?? (all.items !== undefined && data === undefined ? new ApiError(404, `there is no data set ${name} in ${ns}`) : null);
  if (error !== null) return <Page title="Data set" crumbs={crumbs}><Problem error={error} what="data set" /></Page>;
  if (data === undefined || commits.items === undefined) return <Loading what="the data set" />;

  const branches = Object.keys(data.status?.branches ?? { main: {} }).sort();
  const branch = search.branch ?? 'main';
  const head = data.status?.branches?.[branch];
  const tags = Object.entries(data.spec?.tags ?? {});
  const history = commits.items.filter((each) => each.spec.dataset === name && (each.spec.branch ?? 'main') === branch);
  const set = (patch: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...patch }), replace: true });
  const remove = async () => {
    if (!(await confirm({ title: `Delete the data set ${name}?`, body: 'Its commits go for good. The bucket stays, with what is in the branches.', confirm: 'Delete the data set' }))) return;
    if (await attempt(() => datasets.remove(ns, name), `${name} is deleted.`, 'The data set could not be deleted')) await navigate({ to: '/datasets', search: { ns } });
  };
  const removeCommit = async (commit: DatasetCommit) => {
    if (!(await confirm({ title: `Delete the commit ${short(commit.status?.id)}?`, body: 'Its folder goes for good, with the bytes that nobody else needs.', confirm: 'Delete the commit' }))) return;
    await attempt(() => datasets.removeCommit(ns, commit.metadata.name), 'The commit is being deleted.', 'The commit could not be deleted');
  };
  const columns: Column<DatasetCommit>[] = [
    {
      id: 'id',
      header: 'Commit',
      width: 190,
      cell: (commit) => (
        <Group gap={4}>
          {commit.status?.uri === undefined ? '–' : <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: name }} search={{ prefix: `${short(commit.status.id)}/` }} className="kf-link kf-mono">{short(commit.status.id)}</Link>}
          {commit.status?.uri !== undefined && <CopyButton text={commit.status.uri} label="Copy the URI" />}
          {tags.filter(([, of]) => commit.status?.phase === 'Ready' && commit.status.id?.startsWith(of)).map(([tag]) => (
            <Badge key={tag} variant="default" radius="sm" tt="none" fw={500} rightSection={<ActionIcon size={14} aria-label={`Remove the tag ${tag}`} onClick={() => void attempt(() => datasets.tag(ns, name, tag, null), `${tag} is removed.`, 'The tag could not be removed')}><IconX size={11} aria-hidden /></ActionIcon>}>{tag}</Badge>
          ))}
        </Group>
      ),
    },
    {
      id: 'message',
      header: 'Message',
      cell: (commit) => (
        <Stack gap={2}>
          <Text size="sm" style={{ whiteSpace: 'pre-line', overflowWrap: 'anywhere' }}>{commit.spec.message}</Text>
          {commit.status?.message !== undefined && <Text size="xs" c="var(--kf-bad)">{commit.status.message}</Text>}
          {commit.status?.runs?.map((run) => <Text key={run} size="xs">Started the run <Link to="/runs/$runId" params={{ runId: run }} className="kf-link">{run.slice(0, 8)}</Link></Text>)}
        </Stack>
      ),
    },
    { id: 'state', header: 'State', cell: (commit) => <StateBadge state={states[commit.status?.phase ?? 'Pending']} />, width: 110 },
    { id: 'changes', header: 'Changes', cell: (commit) => <Changes commit={commit} />, width: 130 },
    { id: 'size', header: 'Size', cell: (commit) => bytes(commit.status?.bytes ?? 0), width: 100, align: 'right', minor: true },
    { id: 'age', header: 'Age', sortBy: (commit) => `${commit.metadata.creationTimestamp}/${commit.metadata.name}`, cell: (commit) => <Age at={commit.metadata.creationTimestamp} />, width: 120 },
    {
      id: 'actions',
      header: 'Actions',
      width: 80,
      cell: (commit) => (
        <Menu position="bottom-end">
          <Menu.Target><ActionIcon aria-label={`Actions on the commit ${short(commit.status?.id)}`}><IconDots size={16} aria-hidden /></ActionIcon></Menu.Target>
          <Menu.Dropdown>
            {commit.status?.phase === 'Ready' && <Menu.Item onClick={() => set({ tab: 'compare', from: commit.status?.parent === undefined ? undefined : short(commit.status.parent), to: short(commit.status?.id) })}>What it changed</Menu.Item>}
            {commit.status?.phase === 'Ready' && <Menu.Item onClick={() => setAsked({ what: 'tag', commit })}>Tag…</Menu.Item>}
            {commit.status?.phase === 'Ready' && <Menu.Item onClick={() => void navigate({ to: '/lineage', search: { ns, of: `dataset/${name}@${short(commit.status?.id)}` } })}>Lineage</Menu.Item>}
            <Menu.Item onClick={() => void removeCommit(commit)}>Delete…</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ),
    },
  ];
  const commitButton = <Button leftSection={<IconGitCommit size={15} aria-hidden />} onClick={() => setAsked({ what: 'commit' })}>Commit</Button>;
  const latest = head?.commit === undefined || head.commit === '' ? branch : short(head.commit);
  const python = `import os\nimport pandas\n\nstorage = {"key": os.environ["AWS_ACCESS_KEY_ID"], "secret": os.environ["AWS_SECRET_ACCESS_KEY"],\n           "client_kwargs": {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}}   # eval "$(kfbox s3 env)"\nframe = pandas.read_csv("s3://${name}/${latest}/train.csv", storage_options=storage)`;
  const pipeline = `from kfp import dsl\n\ndata = dsl.importer(artifact_uri="s3://${name}/${latest}", artifact_class=dsl.Dataset)\ntrain(data=data.output)   # in the step: a read-only folder at data.path`;
  return (
    <Page
      title={name}
      crumbs={crumbs}
      subtitle={
        <>
          {data.spec?.description !== undefined && <div style={{ color: 'var(--mantine-color-text)' }}>{data.spec.description}</div>}
          <Group gap={4}><Code>s3://{name}/{branch}/</Code><CopyButton text={`s3://${name}/${branch}/`} label="Copy the branch's URI" /></Group>
          {data.status?.message !== undefined && <ErrorNote>{data.status.message}</ErrorNote>}
        </>
      }
      actions={
        <>
          {commitButton}
          <LinkButton to="/buckets/$ns/$bucket" params={{ ns, bucket: name }} search={{ prefix: `${branch}/` }} variant="default" leftSection={<IconFolderOpen size={15} aria-hidden />}>Files</LinkButton>
          <CopyAs snippets={[{ label: 'Read with pandas', kind: 'python', text: python }, { label: 'Use in a pipeline', kind: 'python', text: pipeline }]} />
          <Button variant="default" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete</Button>
        </>
      }
    >
      <Group gap="sm" align="flex-end">
        <NativeSelect label="Branch" value={branch} data={branches.includes(branch) ? branches : [...branches, branch]} onChange={(event) => set({ branch: event.currentTarget.value, from: undefined, to: undefined })} />
        <Button variant="default" leftSection={<IconGitBranch size={15} aria-hidden />} onClick={() => setAsked({ what: 'branch' })}>New branch</Button>
      </Group>
      <Tabs value={search.tab ?? 'history'} onChange={(tab) => set({ tab: tab === 'history' ? undefined : (tab ?? undefined) })} keepMounted={false}>
        <Tabs.List mb="sm">
          <Tabs.Tab value="history">History</Tabs.Tab>
          <Tabs.Tab value="open">Not committed</Tabs.Tab>
          <Tabs.Tab value="compare">Compare</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="history">
          <DataTable
            label="Commits"
            rows={history}
            columns={columns}
            rowId={(commit) => commit.metadata.name}
            view={{ sort: search.sort, page: search.page }}
            defaultSort="-age"
            onView={(view) => set(view)}
            empty={<Empty title="No commits yet" action={commitButton}>Put files into s3://{name}/{branch}/ in the browser, with an S3 client or from a step, then commit.</Empty>}
          />
        </Tabs.Panel>
        <Tabs.Panel value="open">
          <DiffView ns={ns} name={name} from={head?.commit === '' ? undefined : head?.commit} to={branch} every={5000} none="Everything is committed." />
        </Tabs.Panel>
        <Tabs.Panel value="compare">
          <Compare ns={ns} name={name} history={history} names={[...branches, ...tags.map(([tag]) => tag)]} from={search.from} to={search.to} onChange={set} />
        </Tabs.Panel>
      </Tabs>
      <Modal opened={asked !== undefined} onClose={() => setAsked(undefined)} title={asked?.what === 'tag' ? `A tag for ${short(asked.commit.status?.id)}` : asked?.what === 'branch' ? 'New branch' : `Commit ${branch}`} closeButtonProps={{ 'aria-label': 'Close' }}>
        {asked?.what === 'commit' && <CommitForm ns={ns} name={name} branch={branch} onClose={() => setAsked(undefined)} />}
        {asked?.what === 'tag' && <NameForm label="Tag" onClose={() => setAsked(undefined)} act={(tag) => datasets.tag(ns, name, tag, short(asked.commit.status?.id))} />}
        {asked?.what === 'branch' && (
          <NameForm label="Name" hint={head?.commit === undefined || head.commit === '' ? 'It begins empty' : `It begins with what ${branch} was at its newest commit`} onClose={() => setAsked(undefined)} act={async (to) => {
            await datasets.branch(ns, name, [...(data.spec?.branches ?? []), { name: to, from: head?.commit === '' ? undefined : head?.commit }]);
            set({ branch: to });
          }} />
        )}
      </Modal>
    </Page>
  );
}

function Changes({ commit }: { commit: DatasetCommit }) {
  const { added = 0, changed = 0, removed = 0 } = commit.status?.changes ?? {};
  return <Text span size="sm" aria-label={`${added} added, ${changed} changed, ${removed} removed`}>+{added} ~{changed} −{removed}</Text>;
}

interface CompareProps {
  ns: string;
  name: string;
  history: DatasetCommit[];
  names: string[];
  from?: string;
  to?: string;
  onChange: (patch: { from?: string; to?: string }) => void;
}

function Compare({ ns, name, history, names, from, to, onChange }: CompareProps) {
  const ready = history.filter((commit) => commit.status?.phase === 'Ready').sort((a, b) => (b.metadata.creationTimestamp ?? '').localeCompare(a.metadata.creationTimestamp ?? ''));
  const choices = [...names.map((each) => ({ value: each, label: each })), ...ready.map((commit) => ({ value: short(commit.status?.id), label: `${short(commit.status?.id)} ${commit.spec.message ?? ''}`.trim() }))];
  const known = (value: string | undefined) => (value === undefined || choices.some((choice) => choice.value === value) ? choices : [...choices, { value, label: value }]);
  return (
    <Stack gap="sm">
      <Group gap="sm">
        <NativeSelect label="From" value={from ?? ''} data={[{ value: '', label: 'Nothing' }, ...known(from)]} onChange={(event) => onChange({ from: event.currentTarget.value || undefined })} />
        <NativeSelect label="To" value={to ?? ''} data={[{ value: '', label: 'Choose…' }, ...known(to)]} onChange={(event) => onChange({ to: event.currentTarget.value || undefined })} />
      </Group>
      {to === undefined ? <Empty title="Choose two to compare">Commits, tags or branches.</Empty> : <DiffView ns={ns} name={name} from={from} to={to} every={false} none="They hold the same." />}
    </Stack>
  );
}

function CommitForm({ ns, name, branch, onClose }: { ns: string; name: string; branch: string; onClose: () => void }) {
  const [message, setMessage] = useState('');
  const [error, setError] = useState<string>();
  const { data: user } = useQuery({ queryKey: ['whoami'], queryFn: whoAmI, staleTime: Infinity });
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await datasets.commit(ns, name, branch, message.trim(), user ?? '');
      toastDone('Committing. New files are read once to find equal ones.');
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <Textarea label="Message" description="What is new, for whoever reads the history" data-autofocus autosize minRows={2} value={message} onChange={(event) => setMessage(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit">Commit</Button>
        </Group>
      </Stack>
    </form>
  );
}

function NameForm({ label, hint, act, onClose }: { label: string; hint?: string; act: (name: string) => Promise<unknown>; onClose: () => void }) {
  const [text, setText] = useState('');
  const [error, setError] = useState<string>();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      await act(text.trim());
      onClose();
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <TextInput label={label} description={hint} required data-autofocus value={text} onChange={(event) => setText(event.currentTarget.value)} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={text.trim() === ''}>Save</Button>
        </Group>
      </Stack>
    </form>
  );
}
