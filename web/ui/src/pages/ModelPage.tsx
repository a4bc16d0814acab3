// One registered model: its versions with stage, aliases, source and run, each changed in place.
import { ActionIcon, Badge, Button, Code, Group, Menu, Modal, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { IconDots, IconPencil, IconTrash, IconX } from '@tabler/icons-react';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent, type ReactNode } from 'react';
import { ApiError } from '../api/http';
import { mlflow } from '../api/mlflow';
import { changedAt, marks, useModels, useModelVersions, type ModelVersion } from '../api/models';
import { CopyButton } from '../components/CopyAs';
import { DataTable, type Column } from '../components/DataTable';
import { ErrorNote } from '../components/ErrorNote';
import { attempt, useConfirm } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { Age } from '../components/Time';
import { placeOf } from '../lib/tracking';

const route = getRouteApi('/app/models/$ns/$name');
const STAGES = ['None', 'Staging', 'Production', 'Archived'];

/** What is asked for in a dialog. */
type Question = { what: 'alias'; version: ModelVersion } | { what: 'words'; version?: ModelVersion };

export function ModelPage() {
  const { ns, name } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/models/$ns/$name' });
  const confirm = useConfirm();
  const models = useModels(ns);
  const all = useModelVersions(ns);
  const [question, setQuestion] = useState<Question>();
  const crumbs = [{ label: 'Models', to: `/models?ns=${ns}` }];
  const model = models.items?.find((each) => each.spec.name === name);
  const error = models.error ?? all.error ?? (models.items !== undefined && model === undefined ? new ApiError(404, `there is no model ${name} in ${ns}`) : null);
  if (error !== null) return <Page title="Model" crumbs={crumbs}><Problem error={error} what="model" /></Page>;
  if (model === undefined || all.items === undefined) return <Loading what="the model" />;
  const versions = all.items.filter((version) => version.spec.registeredModelId === model.metadata.name);
  const number = (version: ModelVersion) => String(version.spec.number);
  const remove = async () => {
    if (!(await confirm({ title: `Delete the model ${name}?`, body: 'All its versions go from the registry. The files stay where they are.', confirm: 'Delete the model' }))) return;
    if (await attempt(() => mlflow.deleteModel(ns, name), `${name} is deleted.`, 'The model could not be deleted')) await navigate({ to: '/models', search: { ns } });
  };
  const removeVersion = async (version: ModelVersion) => {
    if (!(await confirm({ title: `Delete version ${version.spec.name} of ${name}?`, body: 'It goes from the registry, and aliases that name it go, too. The files stay where they are.', confirm: 'Delete the version' }))) return;
    await attempt(() => mlflow.deleteVersion(ns, name, number(version)), `Version ${version.spec.name} is deleted.`, 'The version could not be deleted');
  };
  const columns: Column<ModelVersion>[] = [
    { id: 'number', header: 'Version', sortBy: (version) => version.spec.number, cell: (version) => <Text span size="sm" fw={500}>{version.spec.name}</Text>, width: 100 },
    { id: 'stage', header: 'Stage', sortBy: (version) => version.spec.stage, cell: (version) => (version.spec.stage === 'None' ? '' : version.spec.stage), width: 110 },
    {
      id: 'aliases',
      header: 'Aliases',
      cell: (version) => (
        <Group gap={4}>
          {Object.entries(model.spec.aliases ?? {}).filter(([, n]) => n === version.spec.number).map(([alias]) => (
            <Badge
              key={alias}
              variant="default"
              radius="sm"
              tt="none"
              fw={500}
              rightSection={<ActionIcon size={14} aria-label={`Remove the alias ${alias}`} onClick={() => void attempt(() => mlflow.removeAlias(ns, name, alias), `@${alias} is removed.`, 'The alias could not be removed')}><IconX size={11} aria-hidden /></ActionIcon>}
            >
              @{alias}
            </Badge>
          ))}
        </Group>
      ),
    },
    { id: 'source', header: 'Source', cell: (version) => <Source ns={ns} version={version} /> },
    {
      id: 'about',
      header: 'About',
      cell: (version) => (
        <Stack gap={2}>
          {version.spec.description !== undefined && <Text size="sm" style={{ whiteSpace: 'pre-line' }}>{version.spec.description}</Text>}
          {marks(version.spec.customProperties).map(([key, value]) => <Text key={key} size="xs" c="dimmed">{key}: {value}</Text>)}
        </Stack>
      ),
      minor: true,
    },
    { id: 'changed', header: 'Changed', sortBy: (version) => changedAt(version) ?? '', cell: (version) => <Age at={changedAt(version)} />, width: 120 },
    {
      id: 'actions',
      header: 'Actions',
      width: 80,
      cell: (version) => (
        <Menu position="bottom-end">
          <Menu.Target><ActionIcon aria-label={`Actions on version ${version.spec.name}`}><IconDots size={16} aria-hidden /></ActionIcon></Menu.Target>
          <Menu.Dropdown>
            <Menu.Item onClick={() => setQuestion({ what: 'alias', version })}>Set an alias…</Menu.Item>
            <Menu.Item onClick={() => setQuestion({ what: 'words', version })}>Describe…</Menu.Item>
            <Menu.Item onClick={() => void navigate({ to: '/lineage', search: { ns, of: `model/${name}/${number(version)}` } })}>Lineage</Menu.Item>
            <Menu.Label>Stage</Menu.Label>
            {STAGES.filter((stage) => stage !== version.spec.stage).map((stage) => (
              <Menu.Item key={stage} onClick={() => void attempt(() => mlflow.setStage(ns, name, number(version), stage), `Version ${version.spec.name} is ${stage === 'None' ? 'of no stage' : `in ${stage}`}.`, 'The stage could not be set')}>{stage}</Menu.Item>
            ))}
            <Menu.Divider />
            <Menu.Item onClick={() => void removeVersion(version)}>Delete…</Menu.Item>
          </Menu.Dropdown>
        </Menu>
      ),
    },
  ];
  return (
    <Page
      title={name}
      crumbs={crumbs}
      subtitle={
        <>
          {model.spec.description !== undefined && <div style={{ color: 'var(--mantine-color-text)', whiteSpace: 'pre-line', maxWidth: '80ch' }}>{model.spec.description}</div>}
          <Group gap={6}>
            <Code>models:/{name}{Object.keys(model.spec.aliases ?? {})[0] === undefined ? `/${model.spec.lastVersion}` : `@${Object.keys(model.spec.aliases ?? {})[0]}`}</Code>
            {model.spec.owner !== undefined && <span>of {model.spec.owner}</span>}
            {marks(model.spec.customProperties).map(([key, value]) => <Badge key={key} variant="default" radius="sm" tt="none" fw={500}>{key}: {value}</Badge>)}
          </Group>
        </>
      }
      actions={
        <>
          <Button variant="default" leftSection={<IconPencil size={15} aria-hidden />} onClick={() => setQuestion({ what: 'words' })}>Describe</Button>
          <Button variant="default" leftSection={<IconTrash size={15} aria-hidden />} onClick={() => void remove()}>Delete</Button>
        </>
      }
    >
      <DataTable
        label="Versions"
        rows={versions}
        columns={columns}
        rowId={(version) => version.metadata.name}
        view={{ sort: search.sort, page: search.page }}
        defaultSort="-number"
        onView={(view) => void navigate({ search: (before) => ({ ...before, ...view }), replace: true })}
        empty={<Empty title="No versions yet">In Python: <code>mlflow.register_model(&quot;models:/m-…&quot;, &quot;{name}&quot;)</code>.</Empty>}
      />
      <Modal opened={question !== undefined} onClose={() => setQuestion(undefined)} title={question?.what === 'alias' ? `An alias for version ${question.version.spec.name}` : 'Describe'} closeButtonProps={{ 'aria-label': 'Close' }}>
        {question?.what === 'alias' && (
          <Ask label="Alias" hint="A name that can move from version to version, such as champion" onClose={() => setQuestion(undefined)} act={(text) => mlflow.setAlias(ns, name, text, number(question.version))} />
        )}
        {question?.what === 'words' && (
          <Ask
            label="Description"
            long
            first={(question.version ?? model).spec.description}
            onClose={() => setQuestion(undefined)}
            act={(text) => (question.version === undefined ? mlflow.describeModel(ns, name, text) : mlflow.describeVersion(ns, name, number(question.version), text))}
          />
        )}
      </Modal>
    </Page>
  );
}

/** Where the files of a version are, and the run that made them. */
function Source({ ns, version }: { ns: string; version: ModelVersion }): ReactNode {
  const { runId, artifacts } = version.spec;
  const artifact = artifacts?.find((each) => each.artifactType === 'model-artifact');
  const uri = artifact?.uri;
  const place = uri === undefined ? undefined : placeOf(ns, uri);
  return (
    <Stack gap={2}>
      {uri !== undefined && (
        <Group gap={4} wrap="nowrap">
          {place === undefined ? <Code style={{ overflowWrap: 'anywhere' }}>{uri}</Code> : <Link to="/buckets/$ns/$bucket" params={{ ns, bucket: place.bucket }} search={{ prefix: place.prefix }} className="kf-link" style={{ overflowWrap: 'anywhere' }}>{uri}</Link>}
          <CopyButton text={uri} label="Copy the URI" />
        </Group>
      )}
      {runId !== undefined && <Text size="xs">Made by the run <Link to="/tracking/$ns/runs/$runId" params={{ ns, runId }} className="kf-link">{runId.slice(0, 8)}</Link></Text>}
      {artifact?.modelSourceKind === 'kfp' && artifact.modelSourceId !== undefined && <Text size="xs">Made by the pipeline run <Link to="/runs/$runId" params={{ runId: artifact.modelSourceId }} className="kf-link">{artifact.modelSourceId.slice(0, 8)}</Link></Text>}
    </Stack>
  );
}

function Ask({ label, hint, first = '', long = false, act, onClose }: { label: string; hint?: string; first?: string; long?: boolean; act: (text: string) => Promise<unknown>; onClose: () => void }) {
  const [text, setText] = useState(first);
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
  const common = { label, description: hint, value: text, 'data-autofocus': true };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        {long ? <Textarea {...common} autosize minRows={4} onChange={(event) => setText(event.currentTarget.value)} /> : <TextInput {...common} onChange={(event) => setText(event.currentTarget.value)} />}
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={!long && text.trim() === ''}>Save</Button>
        </Group>
      </Stack>
    </form>
  );
}
