// Starting a run: a form made from the pipeline's own parameter definitions. Also how a run is cloned.
import { Anchor, Button, Code, Collapse, Grid, Group, NativeSelect, Select, Stack, Switch, Text, Textarea, TextInput, Title } from '@mantine/core';
import { IconCode, IconPlayerPlay } from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState, type FormEvent } from 'react';
import { useExperiments, usePipeline, usePipelines, useVersion, useVersions } from '../api/hooks';
import { kfp } from '../api/kfp';
import type { CreateRunRequest, KfpRun, ParameterSpec, PipelineSpecDoc } from '../api/types';
import { CopyAs, CopyButton } from '../components/CopyAs';
import { ErrorNote } from '../components/ErrorNote';
import { toastDone } from '../components/feedback';
import { Empty, Loading, Page, Problem } from '../components/Page';
import { runNameFor } from '../lib/format';
import { pipelineTitle, rootParameters, unwrap } from '../lib/ir';
import { coerce, coerceAll, fieldKind, initialFields, isRequired, toField, typeWord } from '../lib/params';
import { curlPost, pythonStartRun } from '../lib/snippets';
import { LinkButton } from '../components/LinkButton';

const route = getRouteApi('/app/runs/new');

export function NewRun() {
  const search = route.useSearch();
  const source = useQuery({
    queryKey: ['run', search.clone],
    queryFn: ({ signal }) => kfp.run(search.clone ?? '', signal),
    enabled: search.clone !== undefined,
  });
  const crumbs = [{ label: 'Runs', to: '/runs' }];
  if (search.clone !== undefined && source.data === undefined) {
    return (
      <Page title="Clone a run" crumbs={crumbs}>
        {source.error === null ? <Loading what="the run" /> : <Problem error={source.error} what="run" onRetry={() => void source.refetch()} />}
      </Page>
    );
  }
  return (
    <Page
      title={source.data === undefined ? 'Start a run' : 'Clone a run'}
      crumbs={crumbs}
      subtitle={source.data === undefined ? undefined : <span className="kf-prose">With the pipeline and parameters of <Link className="kf-link" to="/runs/$runId" params={{ runId: source.data.run_id }}>{source.data.display_name}</Link>. Change what you like.</span>}
    >
      <Chooser key={search.clone ?? ''} clone={source.data} />
    </Page>
  );
}

/** Which specification is to run: of a cloned run, or of a chosen pipeline version. */
function Chooser({ clone }: { clone?: KfpRun }) {
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/runs/new' });
  const reference = clone?.pipeline_version_reference;
  const inline = clone !== undefined && reference?.pipeline_id === undefined;
  const pipelineId = inline ? undefined : (search.pipeline ?? reference?.pipeline_id);
  const pipelines = usePipelines();
  const pipeline = usePipeline(pipelineId);
  const versions = useVersions(pipelineId);
  const versionId = search.version ?? (search.pipeline === undefined ? reference?.pipeline_version_id : undefined) ?? versions.data?.[0]?.pipeline_version_id;
  const version = useVersion(pipelineId, versionId);

  // A clone runs what that run ran, even when the version has been deleted since.
  const sameAsClone = clone !== undefined && (inline || (reference?.pipeline_version_id === versionId && reference?.pipeline_id === pipelineId));
  const doc: PipelineSpecDoc | undefined = sameAsClone ? (clone.pipeline_spec ?? version.data?.pipeline_spec) : version.data?.pipeline_spec;

  if (!inline && pipelines.data?.length === 0) {
    return (
      <div className="kf-card">
        <Empty title="There is no pipeline to run yet" action={<LinkButton to="/pipelines" search={{ upload: true }}>Upload a pipeline</LinkButton>}>
          Upload a compiled pipeline first, or start one from Python with the kfp SDK.
        </Empty>
      </div>
    );
  }
  const missing = pipeline.error ?? version.error;
  return (
    <Stack gap="md" maw={1100}>
      {!inline && (
        <Grid gap="sm">
          <Grid.Col span={{ base: 12, sm: 7 }}>
            <Select
              label="Pipeline"
              placeholder="Choose a pipeline"
              searchable
              allowDeselect={false}
              data={(pipelines.data ?? []).map((p) => ({ value: p.pipeline_id, label: p.display_name ?? p.name ?? p.pipeline_id }))}
              value={pipelineId ?? null}
              onChange={(value) => void navigate({ search: (before) => ({ ...before, pipeline: value ?? undefined, version: undefined }), replace: true })}
              nothingFoundMessage="No pipeline of that name"
            />
          </Grid.Col>
          <Grid.Col span={{ base: 12, sm: 5 }}>
            <NativeSelect
              label="Version"
              disabled={pipelineId === undefined}
              value={versionId ?? ''}
              onChange={(event) => {
                const value = event.currentTarget.value;
                void navigate({ search: (before) => ({ ...before, pipeline: pipelineId, version: value }), replace: true });
              }}
              data={(versions.data ?? []).map((v, i) => ({ value: v.pipeline_version_id, label: `${v.display_name ?? v.name ?? v.pipeline_version_id}${i === 0 ? ' (latest)' : ''}` }))}
            />
          </Grid.Col>
        </Grid>
      )}
      {doc === undefined ? (
        missing !== null ? <Problem error={missing} what="pipeline version" /> : pipelineId !== undefined && <Loading what="the parameters" />
      ) : (
        <RunForm
          key={`${pipelineId}/${versionId}`}
          doc={doc}
          clone={clone}
          reference={!inline && pipelineId !== undefined && versionId !== undefined ? { pipeline_id: pipelineId, pipeline_version_id: versionId } : undefined}
          pipelineName={pipeline.data?.display_name ?? pipeline.data?.name ?? pipelineTitle(unwrap(doc)) ?? 'run'}
        />
      )}
    </Stack>
  );
}

interface FormProps {
  doc: PipelineSpecDoc;
  clone?: KfpRun;
  reference?: { pipeline_id: string; pipeline_version_id: string };
  pipelineName: string;
}

function RunForm({ doc, clone, reference, pipelineName }: FormProps) {
  const search = route.useSearch();
  const navigate = useNavigate();
  const client = useQueryClient();
  const experiments = useExperiments();
  // What must be filled in comes first; the author's order otherwise.
  const specs = useMemo(() => rootParameters(unwrap(doc)).sort(([, a], [, b]) => Number(isRequired(b)) - Number(isRequired(a))), [doc]);
  const [name, setName] = useState(() => (clone?.display_name === undefined ? runNameFor(pipelineName, new Date()) : `Clone of ${clone.display_name}`));
  const [description, setDescription] = useState(clone?.description ?? '');
  const [experiment, setExperiment] = useState(search.experiment ?? clone?.experiment_id ?? '');
  const [pipelineRoot, setPipelineRoot] = useState(clone?.runtime_config?.pipeline_root ?? '');
  const [fields, setFields] = useState(() => initialFields(specs, clone?.runtime_config?.parameters));
  const [touched, setTouched] = useState<Record<string, boolean>>({});
  const [shown, setShown] = useState(false);
  const [advanced, setAdvanced] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string>();

  const { parameters, errors } = coerceAll(fields, specs);
  const nameError = name.trim() === '' ? 'A run needs a name.' : undefined;
  const body: CreateRunRequest = {
    display_name: name.trim(),
    description: description.trim() || undefined,
    experiment_id: experiment || undefined,
    ...(reference === undefined ? { pipeline_spec: doc } : { pipeline_version_reference: reference }),
    runtime_config: { parameters, pipeline_root: pipelineRoot.trim() || undefined },
    service_account: clone?.service_account,
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTouched(Object.fromEntries([['', true], ...specs.map(([key]) => [key, true])]));
    const wrong = Object.keys(errors)[0];
    if (nameError !== undefined || wrong !== undefined) {
      document.getElementById(nameError !== undefined ? 'run-name' : `parameter-${wrong}`)?.focus();
      return;
    }
    setBusy(true);
    setError(undefined);
    try {
      const run = await kfp.createRun(body);
      toastDone(`${body.display_name} was started.`);
      void client.invalidateQueries({ queryKey: ['experiments'] });
      await navigate({ to: '/runs/$runId', params: { runId: run.run_id } });
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="md">
        <Grid gap="sm">
          <Grid.Col span={{ base: 12, sm: 7 }}>
            <TextInput id="run-name" label="Run name" required value={name} onChange={(event) => setName(event.currentTarget.value)} onBlur={() => setTouched((before) => ({ ...before, '': true }))} error={touched[''] === true ? nameError : undefined} />
          </Grid.Col>
          <Grid.Col span={{ base: 12, sm: 5 }}>
            <NativeSelect
              label="Experiment"
              value={experiment}
              onChange={(event) => setExperiment(event.currentTarget.value)}
              data={[
                { value: '', label: 'Default' },
                ...(experiments.data ?? []).filter((e) => e.display_name !== 'Default' && e.storage_state !== 'ARCHIVED').map((e) => ({ value: e.experiment_id, label: e.display_name ?? e.experiment_id })),
              ]}
            />
          </Grid.Col>
        </Grid>
        <section className="kf-card" style={{ padding: 16 }} aria-label="Parameters">
          <Title order={2} mb="sm">Parameters</Title>
          {specs.length === 0 ? (
            <Text size="sm" c="dimmed">This pipeline takes no parameters.</Text>
          ) : (
            <Grid gap="sm">
              {specs.map(([key, spec]) => (
                <Grid.Col key={key} span={{ base: 12, sm: ['list', 'struct'].includes(fieldKind(spec)) ? 12 : 6 }}>
                  <ParameterField
                    name={key}
                    spec={spec}
                    text={fields[key] ?? ''}
                    error={touched[key] === true ? errors[key] : undefined}
                    onText={(text) => setFields((before) => ({ ...before, [key]: text }))}
                    onDone={() => setTouched((before) => ({ ...before, [key]: true }))}
                  />
                </Grid.Col>
              ))}
            </Grid>
          )}
        </section>
        <div>
          <Anchor component="button" type="button" size="sm" aria-expanded={advanced} onClick={() => setAdvanced(!advanced)}>
            {advanced ? 'Hide the advanced fields' : 'Advanced: description, pipeline root'}
          </Anchor>
          <Collapse expanded={advanced}>
            <Grid gap="sm" pt="xs">
              <Grid.Col span={{ base: 12, sm: 6 }}>
                <Textarea label="Description" autosize minRows={1} value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
              </Grid.Col>
              <Grid.Col span={{ base: 12, sm: 6 }}>
                <TextInput label="Pipeline root" placeholder="minio://mlpipeline/v2/artifacts" description="Where artifacts are kept; empty means the box's own store." value={pipelineRoot} onChange={(event) => setPipelineRoot(event.currentTarget.value)} />
              </Grid.Col>
            </Grid>
          </Collapse>
        </div>
        {error !== undefined && (
          <ErrorNote title="The box did not start this run">
            {error}
          </ErrorNote>
        )}
        <Group gap="xs">
          <Button type="submit" size="sm" loading={busy} leftSection={<IconPlayerPlay size={16} aria-hidden />}>Start the run</Button>
          <Button size="sm" variant="default" aria-expanded={shown} onClick={() => setShown(!shown)} leftSection={<IconCode size={16} aria-hidden />}>{shown ? 'Hide the request' : 'Show the request'}</Button>
          <CopyAs
            snippets={[
              { label: 'curl', kind: 'curl', text: curlPost(window.location.origin, '/apis/v2beta1/runs', body) },
              { label: 'Python (kfp)', kind: 'python', text: pythonStartRun(window.location.origin, body) },
            ]}
          />
        </Group>
        {shown && (
          <div>
            <Group gap={6} mb={4}>
              <Code>POST /apis/v2beta1/runs</Code>
              <CopyButton text={JSON.stringify(body, null, 2)} label="Copy the request" />
            </Group>
            <Code block tabIndex={0} style={{ maxHeight: 400, overflow: 'auto' }}>{JSON.stringify(body, null, 2)}</Code>
          </div>
        )}
      </Stack>
    </form>
  );
}

interface FieldProps {
  name: string;
  spec: ParameterSpec;
  text: string;
  error?: string;
  onText: (text: string) => void;
  onDone: () => void;
}

function ParameterField({ name, spec, text, error, onText, onDone }: FieldProps) {
  const kind = fieldKind(spec);
  const wrong = error ?? (text === '' ? undefined : problem(text, spec));
  const shared = {
    id: `parameter-${name}`,
    label: (
      <>
        {name}
        <Text span size="xs" c="dimmed" fw={400}> · {typeWord(spec)}{isRequired(spec) ? '' : spec.defaultValue === undefined ? ', optional' : ''}</Text>
      </>
    ),
    description: spec.description,
    withAsterisk: isRequired(spec),
    error: wrong,
    onBlur: onDone,
  };
  if (kind === 'boolean' && !isRequired(spec) && spec.defaultValue !== undefined) {
    return (
      <Switch
        {...shared}
        error={undefined}
        pt={22}
        checked={text === 'true'}
        onChange={(event) => onText(event.currentTarget.checked ? 'true' : 'false')}
      />
    );
  }
  if (kind === 'boolean' || kind === 'choice') {
    const choices = kind === 'boolean' ? ['true', 'false'] : (spec.literals ?? []).map((literal) => toField(literal, 'choice'));
    return (
      <NativeSelect
        {...shared}
        value={text}
        onChange={(event) => onText(event.currentTarget.value)}
        data={[...(text === '' || !isRequired(spec) ? [{ value: '', label: isRequired(spec) ? 'Choose…' : 'Use the default' }] : []), ...choices.map((choice) => ({ value: choice, label: choice }))]}
      />
    );
  }
  const placeholder = spec.defaultValue === undefined ? undefined : `default: ${toField(spec.defaultValue, kind)}`;
  if (kind === 'list' || kind === 'struct' || text.includes('\n')) {
    return <Textarea {...shared} autosize minRows={kind === 'text' ? 2 : 1} maxRows={14} value={text} placeholder={placeholder} onChange={(event) => onText(event.currentTarget.value)} styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }} spellCheck={false} />;
  }
  return <TextInput {...shared} value={text} placeholder={placeholder} inputMode={kind === 'integer' ? 'numeric' : kind === 'number' ? 'decimal' : undefined} onChange={(event) => onText(event.currentTarget.value)} />;
}

function problem(text: string, spec: ParameterSpec): string | undefined {
  const result = coerce(text, spec);
  return result.ok ? undefined : result.error;
}
