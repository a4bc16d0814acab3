// Read-only YAML with folding and search (CodeMirror). Its own chunk: nobody pays for it who does not look at YAML.
import { defaultKeymap } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { codeFolding, foldGutter, foldKeymap, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { EditorState } from '@codemirror/state';
import { EditorView, highlightActiveLine, keymap, lineNumbers } from '@codemirror/view';
import { Button, Group } from '@mantine/core';
import { IconDownload } from '@tabler/icons-react';
import { useEffect, useMemo, useRef } from 'react';
import { stringify } from 'yaml';
import { highlight, look } from './codeLook';
import { CopyTextButton } from './CopyAs';

interface Props {
  value: unknown;
  name: string;
  label: string;
  /** A command that prints the same. */
  command?: string;
}

export default function CodeView({ value, name, label, command }: Props) {
  const text = useMemo(() => (typeof value === 'string' ? value : stringify(value, { lineWidth: 0 })), [value]);
  const host = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (host.current === null) return;
    const view = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(),
          codeFolding(),
          foldGutter(),
          highlightActiveLine(),
          highlightSelectionMatches(),
          search({ top: true }),
          yaml(),
          syntaxHighlighting(highlight),
          look,
          EditorState.readOnly.of(true),
          EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': 'true' }),
          keymap.of([...searchKeymap, ...foldKeymap, ...defaultKeymap]),
        ],
      }),
    });
    return () => view.destroy();
  }, [text, label]);

  const download = () => {
    const url = URL.createObjectURL(new Blob([text], { type: 'application/yaml' }));
    const link = document.createElement('a');
    link.href = url;
    link.download = `${name}.yaml`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  return (
    <div className="kf-card" style={{ display: 'flex', flexDirection: 'column', flex: 1, minHeight: 320, overflow: 'hidden' }}>
      <Group gap="xs" p={6} justify="flex-end" style={{ borderBottom: '1px solid var(--kf-line)' }}>
        <CopyTextButton text={text} label="Copy" />
        {command !== undefined && <CopyTextButton text={command} label="Copy as kubectl command" />}
        <Button size="compact-xs" variant="default" leftSection={<IconDownload size={13} aria-hidden />} onClick={download}>Download</Button>
      </Group>
      <div ref={host} style={{ flex: 1, minHeight: 0, height: '60vh' }} />
    </div>
  );
}
