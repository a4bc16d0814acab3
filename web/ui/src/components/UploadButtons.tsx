// The two ways to choose what is uploaded: files, or a folder with all below it.
import { Button, FileButton } from '@mantine/core';
import { IconFolderUp, IconUpload } from '@tabler/icons-react';
import { useRef } from 'react';
import { chosen, type FoundFile } from '../lib/dropped';

export function UploadButtons({ onFound }: { onFound: (found: FoundFile[]) => void }) {
  const [files, folder] = [useRef<() => void>(null), useRef<() => void>(null)];
  const take = (list: File[]) => {
    onFound(chosen(list));
    // A browser tells of a choice only when it differs from the one before: the same file may be sent twice.
    files.current?.();
    folder.current?.();
  };
  return (
    <>
      <FileButton multiple onChange={take} resetRef={files} inputProps={{ 'aria-label': 'Files to upload' }}>
        {(button) => <Button {...button} leftSection={<IconUpload size={15} aria-hidden />}>Upload files</Button>}
      </FileButton>
      <FileButton multiple onChange={take} resetRef={folder} inputProps={{ webkitdirectory: '', 'aria-label': 'Folder to upload' }}>
        {(button) => <Button {...button} variant="default" leftSection={<IconFolderUp size={15} aria-hidden />}>Upload a folder</Button>}
      </FileButton>
    </>
  );
}
