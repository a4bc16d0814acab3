// YAML to write: checked by the box itself (a dry run) while one types, with each error at its line. Its own chunk.
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { syntaxHighlighting } from '@codemirror/language';
import { search, searchKeymap } from '@codemirror/search';
import { EditorState, StateEffect, StateField } from '@codemirror/state';
import { Decoration, EditorView, highlightActiveLine, keymap, lineNumbers, type DecorationSet } from '@codemirror/view';
import { Button, Group, Stack, Text, UnstyledButton } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useEffect, useRef, useState } from 'react';
import { ApiError } from '../api/http';
import type { JsonMap, KubeObject } from '../api/types';
import { fieldErrors, locate, parseManifest, type FieldError } from '../lib/manifest';
import { highlight, look } from './codeLook';
import { ErrorNote } from './ErrorNote';

interface Props {
  label: string;
  start: string;
  /** Sends it; with `dryRun` nothing is kept. */
  send: (object: JsonMap, dryRun: boolean) => Promise<KubeObject>;
  action: string;
  onDone: (object: KubeObject) => void;
}

const markLines = StateEffect.define<number[]>();
const marks = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(set, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(markLines)) continue;
      const { doc } = transaction.state;
      const lines = [...new Set(effect.value)].filter((line) => line >= 1 && line <= doc.lines).sort((a, b) => a - b);
      return Decoration.set(lines.map((line) => Decoration.line({ attributes: { style: 'background: var(--kf-bad-soft)', 'data-bad': 'true' } }).range(doc.line(line).from)));
    }
    return set.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const errorsOf = (cause: unknown): FieldError[] =>
  cause instanceof ApiError ? fieldErrors(cause.message, cause.causes) : [{ message: String(cause) }];

export default function ManifestEditor({ label, start, send, action, onDone }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  const sender = useRef(send);
  const [text, setText] = useState(start);
  const [settled] = useDebouncedValue(text, 400);
  const [verdict, setVerdict] = useState<{ text: string; errors: FieldError[] }>();
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    sender.current = send;
  }, [send]);
  useEffect(() => {
    if (host.current === null) return;
    const editor = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: start,
        extensions: [
          lineNumbers(), history(), highlightActiveLine(), search({ top: true }), yaml(), syntaxHighlighting(highlight), look, marks,
          EditorView.contentAttributes.of({ 'aria-label': label }),
          // Tab leaves the editor: it is a field like any other for the keyboard.
          keymap.of([...searchKeymap, ...historyKeymap, ...defaultKeymap]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) setText(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, [start, label]);

  useEffect(() => {
    let stale = false;
    const check = async () => {
      const { object, errors } = parseManifest(settled);
      const found = object === undefined ? errors : await sender.current(object, true).then(() => [], errorsOf);
      if (!stale) setVerdict({ text: settled, errors: locate(settled, found).map((error, i) => ({ ...error, line: error.line ?? found[i]?.line })) });
    };
    void check();
    return () => {
      stale = true;
    };
  }, [settled]);

  const fresh = verdict?.text === text;
  const errors = verdict?.errors ?? [];
  useEffect(() => {
    view.current?.dispatch({ effects: markLines.of((verdict?.errors ?? []).flatMap((error) => error.line ?? [])) });
  }, [verdict]);

  const goTo = (line: number) => {
    const editor = view.current;
    if (editor === undefined || line > editor.state.doc.lines) return;
    editor.dispatch({ selection: { anchor: editor.state.doc.line(line).from }, scrollIntoView: true });
    editor.focus();
  };
  const submit = async () => {
    const { object, errors: wrong } = parseManifest(text);
    if (object === undefined) {
      setVerdict({ text, errors: wrong });
      return;
    }
    setBusy(true);
    try {
      onDone(await sender.current(object, false));
    } catch (cause) {
      setVerdict({ text, errors: locate(text, errorsOf(cause)) });
    }
    setBusy(false);
  };

  return (
    <Stack gap="sm" style={{ flex: 1 }}>
      <div className="kf-card" ref={host} style={{ height: '55vh', minHeight: 240, overflow: 'hidden' }} />
      {errors.length > 0 && (
        <ErrorNote title={errors.length === 1 ? 'The box would refuse this' : `The box would refuse this, for ${errors.length} reasons`}>
          {errors.map((error, i) => (
            <div key={i}>
              {error.line !== undefined && (
                <UnstyledButton className="kf-link" fz="sm" mr={6} onClick={() => goTo(error.line ?? 1)}>Line {error.line}</UnstyledButton>
              )}
              {error.field !== undefined && <span className="kf-mono">{error.field}: </span>}
              {error.message}
            </div>
          ))}
        </ErrorNote>
      )}
      <Group gap="sm">
        <Button loading={busy} disabled={fresh && errors.length > 0} onClick={() => void submit()}>{action}</Button>
        <Text size="sm" c="dimmed" role="status">{!fresh ? 'Checking…' : errors.length === 0 ? 'The box has checked it: it is valid.' : ''}</Text>
      </Group>
    </Stack>
  );
}
