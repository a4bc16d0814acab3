// The YAML of an object: to read, and on a click to edit.
import { Button, Group } from '@mantine/core';
import { lazy, Suspense } from 'react';
import { stringify } from 'yaml';
import { kube } from '../api/kube';
import type { JsonMap, KubeObject } from '../api/types';
import { patient } from '../lib/chunk';
import { toastDone } from './feedback';
import { Loading } from './Page';

const CodeView = lazy(patient(() => import('./CodeView')));
const ManifestEditor = lazy(patient(() => import('./ManifestEditor')));

interface Props {
  object: KubeObject;
  /** "job": what it is in a sentence. */
  word: string;
  editing: boolean;
  onEditing: (editing: boolean) => void;
}

export function YamlTab({ object, word, editing, onEditing }: Props) {
  const { name, namespace = '' } = object.metadata;
  return (
    <>
      <Group>
        <Button variant="default" onClick={() => onEditing(!editing)}>{editing ? 'Stop editing' : 'Edit'}</Button>
      </Group>
      <Suspense fallback={<Loading what="the YAML" />}>
        {editing ? (
          <Edit object={object} word={word} onDone={() => onEditing(false)} />
        ) : (
          <CodeView value={object} name={name} label={`YAML of the ${word}`} command={`kubectl -n ${namespace} get ${object.kind.toLowerCase()} ${name} -o yaml`} />
        )}
      </Suspense>
    </>
  );
}

/** Edits what was there when editing began; the box refuses it when the object has changed since. */
function Edit({ object, word, onDone }: { object: KubeObject; word: string; onDone: () => void }) {
  const { name, namespace = '' } = object.metadata;
  return (
    <ManifestEditor
      key={object.metadata.uid + object.metadata.resourceVersion}
      label={`YAML of the ${word}`}
      start={stringify({ ...object, status: undefined })}
      action="Save"
      send={(written: JsonMap, dryRun) => kube.replace(written, namespace, name, dryRun)}
      onDone={() => {
        toastDone(`${name} was saved.`);
        onDone();
      }}
    />
  );
}
