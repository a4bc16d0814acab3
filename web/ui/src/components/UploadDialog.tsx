// Uploading a pipeline, or a new version of one: a file by drag or choice, a name, and the server's own words on trouble.
import { Button, Group, Modal, Progress, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { IconFileCode, IconUpload } from '@tabler/icons-react';
import { useQueryClient } from '@tanstack/react-query';
import { useId, useRef, useState, type DragEvent, type FormEvent } from 'react';
import { ApiError } from '../api/http';
import { upload } from '../api/kfp';
import type { KfpPipeline, KfpPipelineVersion } from '../api/types';
import { bytes } from '../lib/format';
import { toastDone } from './feedback';
import { ErrorNote } from './ErrorNote';
import classes from './UploadDialog.module.css';

/** What the API takes; larger files are refused there. */
const LIMIT = 32 * 1024 * 1024;

interface Props {
  opened: boolean;
  onClose: () => void;
  /** Set: a new version of this pipeline. */
  pipeline?: { id: string; name: string; versions: number };
  onDone: (uploaded: { pipelineId: string; versionId?: string }) => void;
}

export function UploadDialog({ opened, onClose, pipeline, onDone }: Props) {
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={pipeline === undefined ? 'Upload a pipeline' : `Upload a new version of ${pipeline.name}`}
      size="lg"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <UploadForm pipeline={pipeline} onClose={onClose} onDone={onDone} />
    </Modal>
  );
}

const nameFrom = (file: string) => file.replace(/\.(ya?ml|json|zip|tar\.gz|tgz)$/i, '').replace(/[_\s]+/g, '-');

function UploadForm({ pipeline, onClose, onDone }: Omit<Props, 'opened'>) {
  const client = useQueryClient();
  const [file, setFile] = useState<File>();
  const [name, setName] = useState('');
  const [named, setNamed] = useState(false);
  const [description, setDescription] = useState('');
  const [over, setOver] = useState(false);
  const [percent, setPercent] = useState<number>();
  const [error, setError] = useState<{ message: string; details?: string }>();
  const input = useRef<HTMLInputElement>(null);
  const hint = useId();

  const take = (chosen: File | undefined) => {
    if (chosen === undefined) return;
    setError(chosen.size > LIMIT ? { message: `${chosen.name} has ${bytes(chosen.size)}; at most ${bytes(LIMIT)} can be uploaded.` } : undefined);
    setFile(chosen);
    if (!named) setName(pipeline === undefined ? nameFrom(chosen.name) : `${pipeline.name} v${pipeline.versions + 1}`);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    take(event.dataTransfer.files[0]);
  };

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (file === undefined) {
      setError({ message: 'Choose a file first.' });
      return;
    }
    if (name.trim() === '') {
      setError({ message: 'Give it a name.' });
      return;
    }
    setError(undefined);
    setPercent(0);
    try {
      const target = { name: name.trim(), description: description.trim() || undefined, pipelineId: pipeline?.id };
      const made = await upload<KfpPipeline & Partial<KfpPipelineVersion>>(file, target, setPercent);
      await Promise.all([
        client.invalidateQueries({ queryKey: ['pipelines'] }),
        client.invalidateQueries({ queryKey: ['versions', made.pipeline_id] }),
      ]);
      toastDone(`${name.trim()} was uploaded.`);
      onDone({ pipelineId: made.pipeline_id, versionId: made.pipeline_version_id });
    } catch (cause) {
      setError(cause instanceof ApiError ? { message: cause.message, details: cause.details } : { message: String(cause) });
      setPercent(undefined);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <Stack gap="sm">
        <div
          className={classes.drop}
          data-over={over || undefined}
          onDragOver={(event) => {
            event.preventDefault();
            setOver(true);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={drop}
        >
          {file === undefined ? <IconUpload size={22} stroke={1.5} aria-hidden /> : <IconFileCode size={22} stroke={1.5} aria-hidden />}
          <Text size="sm" fw={500} style={{ overflowWrap: 'anywhere' }}>
            {file === undefined ? 'Drop a compiled pipeline here, or' : `${file.name} (${bytes(file.size)})`}
          </Text>
          <Button variant="default" onClick={() => input.current?.click()} aria-describedby={hint} data-autofocus>
            {file === undefined ? 'Choose a file' : 'Choose another file'}
          </Button>
          <input
            ref={input}
            type="file"
            hidden
            aria-label="Pipeline file"
            accept=".yaml,.yml,.json,.zip,.gz,.tgz"
            onChange={(event) => take(event.currentTarget.files?.[0])}
          />
          <Text size="xs" c="dimmed" id={hint}>.yaml, .zip or .tar.gz, as the kfp compiler writes it; at most 32 MiB</Text>
        </div>
        <TextInput
          label={pipeline === undefined ? 'Name' : 'Version name'}
          required
          value={name}
          onChange={(event) => {
            setName(event.currentTarget.value);
            setNamed(true);
          }}
        />
        <Textarea label="Description" autosize minRows={2} value={description} onChange={(event) => setDescription(event.currentTarget.value)} />
        {error !== undefined && (
          <ErrorNote>
            {error.message}
            {error.details !== undefined && <Text size="xs" mt={4}>{error.details}</Text>}
          </ErrorNote>
        )}
        {percent !== undefined && (
          <Stack gap={2}>
            <Progress value={percent} aria-label="Upload" />
            <Text size="xs" c="dimmed" role="status">{percent < 100 ? `${percent} % sent` : 'Sent. The box is checking it…'}</Text>
          </Stack>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>Cancel</Button>
          <Button type="submit" loading={percent !== undefined}>Upload</Button>
        </Group>
      </Stack>
    </form>
  );
}
