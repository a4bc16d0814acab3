// A model that a run has logged, and the way into the registry.
import { Autocomplete, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState, type FormEvent } from 'react';
import { ApiError } from '../api/http';
import { mlflow } from '../api/mlflow';
import { useModels, useModelVersions } from '../api/models';
import { toastDone } from './feedback';
import { ErrorNote } from './ErrorNote';

export function RegisterModel({ ns, runId, modelId }: { ns: string; runId: string; modelId: string }) {
  const [open, setOpen] = useState(false);
  const { data } = useQuery({ queryKey: ['logged-model', ns, modelId], queryFn: ({ signal }) => mlflow.loggedModel(ns, modelId, signal) });
  const models = useModels(ns).items ?? [];
  const versions = (useModelVersions(ns).items ?? []).filter((version) => version.spec.loggedModelId === modelId || (version.spec.loggedModelId === undefined && version.spec.runId === runId));
  return (
    <Group gap="sm" justify="space-between">
      <div>
        <Text size="sm" fw={500}>{data?.info.name ?? modelId}</Text>
        <Text size="xs" c="dimmed" className="kf-mono">models:/{modelId}</Text>
        {versions.map((version) => {
          const model = models.find((each) => each.metadata.name === version.spec.registeredModelId);
          return model === undefined ? null : (
            <Text key={version.metadata.name} size="xs">
              Registered as <Link to="/models/$ns/$name" params={{ ns, name: model.spec.name }} className="kf-link">{model.spec.name}, version {version.spec.name}</Link>
            </Text>
          );
        })}
      </div>
      <Button variant="default" size="compact-xs" onClick={() => setOpen(true)}>Register</Button>
      <Modal opened={open} onClose={() => setOpen(false)} title="Register the model" closeButtonProps={{ 'aria-label': 'Close' }}>
        <Form ns={ns} runId={runId} modelId={modelId} names={models.map((model) => model.spec.name).sort()} onClose={() => setOpen(false)} />
      </Modal>
    </Group>
  );
}

function Form({ ns, runId, modelId, names, onClose }: { ns: string; runId: string; modelId: string; names: string[]; onClose: () => void }) {
  const [name, setName] = useState('');
  const [error, setError] = useState<string>();
  const navigate = useNavigate();
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    try {
      if (!names.includes(name.trim())) {
        await mlflow.createModel(ns, name.trim(), '').catch((cause: unknown) => {
          // Another client may have been faster.
          if (!(cause instanceof ApiError && cause.message.includes('already exists'))) throw cause;
        });
      }
      const { model_version: made } = await mlflow.createVersion(ns, name.trim(), `models:/${modelId}`, { run_id: runId, model_id: modelId });
      toastDone(`${name.trim()} has version ${made.version}.`);
      onClose();
      await navigate({ to: '/models/$ns/$name', params: { ns, name: name.trim() } });
    } catch (cause) {
      setError(cause instanceof Error ? cause.message : String(cause));
    }
  };
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <Autocomplete label="Name" description="A new model, or one that gets its next version" required data-autofocus data={names} value={name} onChange={setName} />
        {error !== undefined && <ErrorNote>{error}</ErrorNote>}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" disabled={name.trim() === ''}>Register</Button>
        </Group>
      </Stack>
    </form>
  );
}
