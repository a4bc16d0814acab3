// A new notebook: few fields with what is free beside them, checked by the box as one types, and the YAML that it sends.
import { Button, Code, Grid, Group, Stack, Text, Title } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, useNavigate } from '@tanstack/react-router';
import { useMemo, useState, type FormEvent } from 'react';
import { stringify } from 'yaml';
import { NAMESPACE } from '../api/hooks';
import { ApiError } from '../api/http';
import { createNotebook, Refused, useReadyImages, useRoom, useSurroundings } from '../api/notebooks';
import type { PodDefaultObject } from '../api/types';
import { CopyTextButton } from '../components/CopyAs';
import { ErrorNote } from '../components/ErrorNote';
import { toastDone } from '../components/feedback';
import { AdvancedFields } from '../components/NotebookAdvanced';
import { NotebookFields } from '../components/NotebookFields';
import { Loading, Page } from '../components/Page';
import { BLANK, defaultsFor, freeName, isEmptyProblem, manifests, problemsOf, workspaceName, type NotebookForm, type Problems } from '../lib/notebookForm';
import classes from './NewNotebook.module.css';

const route = getRouteApi('/app/notebooks/new');

export function NewNotebook() {
  const ns = route.useSearch().ns ?? NAMESPACE;
  const { items, error } = useSurroundings(ns);
  const images = useReadyImages();
  const room = useRoom();
  // Before these have come there are no defaults; one that does not come is no reason not to show the form.
  const ready = (items !== undefined || error !== null) && !images.isPending && !room.isPending;
  return (
    <Page title="New notebook" crumbs={[{ label: 'Notebooks', to: '/notebooks' }]} subtitle={`In the namespace ${ns}. The box checks what you write as you type.`}>
      {ready ? <Form key={ns} ns={ns} items={items ?? []} /> : <Loading what="the form" />}
    </Page>
  );
}

/** What the box says of it, where it can be told which field it is about. */
function byField(cause: unknown, form: NotebookForm): { field?: string; message: string } {
  const refused = cause instanceof Refused ? cause : undefined;
  const inner = refused?.cause ?? cause;
  const left = refused === undefined || refused.left.length === 0 ? '' : ` The new volumes ${refused.left.join(', ')} could not be deleted again.`;
  const message = `${inner instanceof Error ? inner.message : String(inner)}${left}`;
  if (refused?.claim !== undefined) {
    if (form.workspace === 'new' && refused.claim === workspaceName(form)) return { field: 'workspace', message };
    const volume = form.data.find((each) => each.fresh && each.claim === refused.claim);
    return { field: volume === undefined ? undefined : `data.${volume.id}.claim`, message };
  }
  const blamed = inner instanceof ApiError ? inner.causes.map((each) => each.field ?? '').join(' ') : '';
  return { field: `${blamed} ${message}`.includes('metadata.name:') || blamed === 'metadata.name' ? 'name' : undefined, message };
}

function Form({ ns, items }: { ns: string; items: NonNullable<ReturnType<typeof useSurroundings>['items']> }) {
  const navigate = useNavigate({ from: '/notebooks/new' });
  const images = useReadyImages().data ?? [];
  const room = useRoom().data;
  const of = (kind: string) => items.filter((each) => each.kind === kind).map((each) => each.metadata.name);
  const around = { notebooks: of('Notebook'), claims: of('PersistentVolumeClaim').sort(), room };
  const presets = items.filter((each): each is PodDefaultObject => each.kind === 'PodDefault');

  // What nobody has touched follows what the box has; the numbers stay as they were first shown.
  const [first] = useState(() => defaultsFor(room));
  const [changed, setChanged] = useState<Partial<NotebookForm>>({});
  const [tried, setTried] = useState(false);
  const [busy, setBusy] = useState(false);
  const [refusal, setRefusal] = useState<{ field?: string; message: string }>();
  const form: NotebookForm = { ...BLANK, ...first, name: freeName(around.notebooks, around.claims), image: images[0]?.name ?? '', ...changed };
  const set = (patch: Partial<NotebookForm>) => {
    setChanged((before) => ({ ...before, ...patch }));
    setRefusal(undefined);
  };

  const found = busy ? {} : problemsOf(form, around);
  const made = manifests(form, ns, presets);
  const text = [...made.claims, made.notebook].map((each) => stringify(each, { lineWidth: 0 })).join('---\n');
  const sound = Object.keys(found).length === 0;
  const [settled] = useDebouncedValue(text, 400);
  const check = useQuery({
    queryKey: ['notebook dry run', ns, settled],
    queryFn: async () => {
      try {
        await createNotebook(made.notebook, made.claims, ns, true);
        return null;
      } catch (cause) {
        return byField(cause, form);
      }
    },
    enabled: sound && !busy && settled === text,
    staleTime: 0,
    gcTime: 0,
  });
  const verdict = sound && settled === text ? check.data : undefined;
  const said = refusal ?? verdict ?? undefined;
  const problems: Problems = {
    ...Object.fromEntries(Object.entries(found).filter(([, problem]) => tried || !isEmptyProblem(problem))),
    ...(said?.field === undefined ? {} : { [said.field]: said.message }),
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setTried(true);
    const wrong = Object.keys(found)[0];
    if (wrong !== undefined) {
      // The field may lie in a fold that opens now.
      setTimeout(() => document.getElementById(`notebook-${wrong}`)?.focus());
      return;
    }
    setBusy(true);
    // Its name is taken from now on, by itself.
    setChanged(form);
    setRefusal(undefined);
    try {
      await createNotebook(made.notebook, made.claims, ns);
      toastDone(`${form.name} was created.`);
      await navigate({ to: '/notebooks/$ns/$name', params: { ns, name: form.name } });
    } catch (cause) {
      setRefusal(byField(cause, form));
      setBusy(false);
    }
  };
  const fields = { form, set, problems, around, images, presets };
  const status = useMemo(() => {
    if (!sound) return '';
    return verdict === undefined ? 'Checking…' : verdict === null ? 'The box has checked it: it is valid.' : '';
  }, [sound, verdict]);

  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Grid gap="lg">
        <Grid.Col span={{ base: 12, md: 7 }}>
          <Stack gap="md">
            <NotebookFields {...fields} />
            <AdvancedFields {...fields} open={tried && Object.keys(found).some((field) => /^(data|env|shm)/.test(field))} />
            {said !== undefined && said.field === undefined && <ErrorNote title={refusal === undefined ? 'The box would refuse this' : 'The box did not create this notebook'}>{said.message}</ErrorNote>}
            <Group gap="sm">
              <Button type="submit" size="sm" loading={busy} leftSection={<IconPlus size={16} aria-hidden />}>Create the notebook</Button>
              <Text size="sm" c="dimmed" role="status">{busy ? '' : status}</Text>
            </Group>
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <section aria-label="YAML" className={`kf-card ${classes.yaml}`}>
            <Group justify="space-between" mb={6}>
              <Title order={2} size="h3">YAML</Title>
              <CopyTextButton text={text} label="Copy" />
            </Group>
            <Text size="xs" c="dimmed" mb={6}>What is sent, also for kubectl apply.</Text>
            <Code block tabIndex={0} aria-label="YAML that is sent" className={classes.code}>{text}</Code>
          </section>
        </Grid.Col>
      </Grid>
    </form>
  );
}
