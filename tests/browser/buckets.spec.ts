// Buckets as a person uses them: made, filled by button and by drop, looked into, emptied, deleted.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { APIRequestContext, FileChooser, Page } from '@playwright/test';
import { expect, expectAccessible, expectAccessibleInBoth, fresh, test } from './box';

const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));

/** Writes below /s3 as the page itself would: the box checks the origin. */
async function put(api: APIRequestContext, origin: string | undefined, path: string, data?: string | Buffer): Promise<void> {
  const answer = await api.put(`/s3/kubeflow/${path}`, { headers: { Origin: origin ?? '' }, data });
  expect(answer.ok(), await answer.text()).toBe(true);
}

async function keysIn(api: APIRequestContext, bucket: string): Promise<string[]> {
  const list = await (await api.get(`/s3/kubeflow/${bucket}?list-type=2`)).text();
  return [...list.matchAll(/<Key>([^<]*)/g)].map((each) => each[1] ?? '');
}

/** A folder on this machine's disk. */
function folderOf(at: string, files: Record<string, string>): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(at, name, '..'), { recursive: true });
    writeFileSync(join(at, name), text);
  }
  return at;
}

/** Drops what lies on this machine's disk, as a file manager does. */
async function dropFromDisk(page: Page, path: string): Promise<void> {
  const box = await page.getByRole('heading', { level: 1 }).boundingBox();
  const session = await page.context().newCDPSession(page);
  const at = { x: (box?.x ?? 0) + 5, y: (box?.y ?? 0) + 5, data: { items: [], files: [path], dragOperationsMask: 1 } };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) await session.send('Input.dispatchDragEvent', { type, ...at });
}

/** Chooses files by a button. */
async function choose(page: Page, button: string, files: Parameters<FileChooser['setFiles']>[0]): Promise<void> {
  const chooser = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: button }).first().click();
  await (await chooser).setFiles(files);
}

test('a bucket is made, filled, looked into, emptied and deleted', async ({ user }) => {
  const name = fresh('bucket').toLowerCase();
  await user.goto('/buckets');
  await expectAccessibleInBoth(user, 'the list of buckets');
  await user.getByRole('button', { name: 'Create a bucket' }).click();
  const dialog = user.getByRole('dialog', { name: 'Create a bucket' });
  await dialog.getByLabel('Name').fill('No Good');
  await dialog.getByRole('button', { name: 'Create' }).click();
  await expect(dialog.getByRole('alert')).toBeVisible();
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByRole('button', { name: 'Create' }).click();
  await user.getByRole('link', { name }).click();
  await expect(user.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  await expectAccessible(user, 'an empty bucket');

  // By the button, with a name that needs care.
  const table = 'name,digit\n"Ada, L.",7\nBob,3\n';
  const chooser = user.waitForEvent('filechooser');
  await user.getByRole('button', { name: 'Upload files' }).first().click();
  await (await chooser).setFiles([
    { name: 'ü 100% (1).csv', mimeType: 'text/csv', buffer: Buffer.from(table) },
    { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('<b>not bold</b>') },
  ]);
  await expect(user.getByRole('link', { name: 'ü 100% (1).csv' })).toBeVisible();
  await expect(user.getByText('2 files uploaded.')).toBeVisible();
  // By drop.
  const dropped = await user.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array([1, 2, 3])], 'dropped.bin'));
    return transfer;
  });
  await user.getByRole('table', { name: 'Objects' }).dispatchEvent('drop', { dataTransfer: dropped });
  await expect(user.getByRole('link', { name: 'dropped.bin' })).toBeVisible();
  await expectAccessibleInBoth(user, 'a bucket');

  await user.getByRole('link', { name: 'ü 100% (1).csv' }).click();
  const drawer = user.getByRole('dialog');
  await expect(drawer.getByRole('cell', { name: 'Ada, L.' })).toBeVisible();
  await expect(drawer).toContainText(`s3://${name}/ü 100% (1).csv`);
  await expectAccessibleInBoth(user, 'an object');
  const download = user.waitForEvent('download');
  await drawer.getByRole('link', { name: 'Download' }).click();
  expect(readFileSync(await (await download).path(), 'utf8')).toBe(table);
  await drawer.getByRole('button', { name: 'Close' }).click();
  await user.getByRole('link', { name: 'notes.txt' }).click();
  await expect(drawer.getByLabel('Preview')).toHaveText('<b>not bold</b>');
  await drawer.getByRole('button', { name: 'Close' }).click();
  await user.getByRole('link', { name: 'dropped.bin' }).click();
  await expect(drawer).toContainText('There is no preview');
  await drawer.getByRole('button', { name: 'Close' }).click();

  // What is not empty stays, and says why.
  await user.goto('/buckets');
  await user.getByRole('button', { name: `Delete ${name}` }).click();
  await user.getByRole('button', { name: 'Delete the bucket' }).click();
  await expect(user.getByText(/the bucket holds objects/)).toBeVisible();
  await user.getByRole('link', { name }).click();
  await user.getByRole('checkbox', { name: 'Select all rows of this page' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('Delete 3 objects?');
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  await user.goto('/buckets');
  await user.getByRole('button', { name: `Delete ${name}` }).click();
  await user.getByRole('button', { name: 'Delete the bucket' }).click();
  await expect(user.getByRole('link', { name })).toHaveCount(0);
});

test('folders are walked, shown in pages, and deleted with all below', async ({ user, api, baseURL }) => {
  const name = fresh('folders').toLowerCase();
  await put(api, baseURL, name);
  for (let n = 0; n < 405; n += 1) await put(api, baseURL, `${name}/many/${String(n).padStart(3, '0')}`, 'x');
  await put(api, baseURL, `${name}/few/deep/leaf`, 'x');
  await user.goto(`/buckets/kubeflow/${name}`);
  await user.getByRole('link', { name: 'many/' }).click();
  await expect(user.getByRole('link', { name: '199', exact: true })).toBeVisible();
  await user.getByRole('button', { name: 'Next page' }).click();
  await expect(user.getByRole('link', { name: '399', exact: true })).toBeVisible();
  await expect(user.getByRole('link', { name: '199', exact: true })).toHaveCount(0);
  await user.getByRole('button', { name: 'Next page' }).click();
  await expect(user.getByRole('link', { name: '404', exact: true })).toBeVisible();
  await expect(user.getByRole('button', { name: 'Next page' })).toBeDisabled();
  await user.getByRole('button', { name: 'Previous page' }).click();
  await expect(user.getByRole('link', { name: '200', exact: true })).toBeVisible();
  await user.getByRole('button', { name: 'Previous page' }).click();
  await expect(user.getByRole('link', { name: '000', exact: true })).toBeVisible();
  await expect(user.getByRole('button', { name: 'Previous page' })).toBeDisabled();
  await user.getByRole('button', { name: 'Next page' }).click();
  await expect(user.getByRole('link', { name: '200', exact: true })).toBeVisible();
  await user.getByRole('button', { name: 'First page' }).click();
  await expect(user.getByRole('link', { name: '000', exact: true })).toBeVisible();
  await user.getByRole('navigation', { name: 'Folders' }).getByRole('link', { name }).click();
  await user.getByRole('link', { name: 'few/' }).click();
  await user.getByRole('link', { name: 'deep/' }).click();
  await expect(user.getByRole('link', { name: 'leaf' })).toBeVisible();
  await user.goto(`/buckets/kubeflow/${name}`);
  await user.getByRole('checkbox', { name: 'Select all rows of this page' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('Delete 406 objects?');
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
});

test('a folder of dots leads into no other bucket, and an empty file is shown as one', async ({ user, api, baseURL }) => {
  const [name, other] = [fresh('dots').toLowerCase(), fresh('other').toLowerCase()];
  for (const bucket of [name, other]) expect((await api.put(`/s3/kubeflow/${bucket}`, { headers: { Origin: baseURL ?? '' } })).ok()).toBe(true);
  await user.goto(`/buckets/kubeflow/${name}?prefix=${encodeURIComponent(`../${other}/`)}`);
  const chooser = user.waitForEvent('filechooser');
  await user.getByRole('button', { name: 'Upload files' }).first().click();
  await (await chooser).setFiles([{ name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.alloc(0) }]);
  await user.getByRole('link', { name: 'empty.txt' }).click();
  await expect(user.getByRole('dialog').getByLabel('Preview')).toHaveText('');
  const inside = async (bucket: string) => (await (await api.get(`/s3/kubeflow/${bucket}?list-type=2`)).text()).match(/<Key>[^<]*/g) ?? [];
  expect(await inside(name)).toEqual([`<Key>../${other}/empty.txt`]);
  expect(await inside(other)).toEqual([]);
});

test('folders are uploaded whole, by choice and by drop', async ({ user, api, baseURL }, info) => {
  const name = fresh('whole').toLowerCase();
  await put(api, baseURL, name);
  await user.goto(`/buckets/kubeflow/${name}`);
  const many = Object.fromEntries(Array.from({ length: 120 }, (_, n) => [`deep/${String(n).padStart(3, '0')}`, `${n}`]));
  await dropFromDisk(user, folderOf(info.outputPath('dropped'), { top: 'x', ...many }));
  await expect(user.getByText('121 files uploaded.')).toBeVisible();
  expect(await keysIn(api, name)).toEqual(['dropped/top', ...Object.keys(many).map((key) => `dropped/${key}`)].sort());
  await expect(user.getByRole('link', { name: 'dropped/' })).toBeVisible();
  await choose(user, 'Upload a folder', folderOf(info.outputPath('chosen'), { a: '1', 'b/c': '2' }));
  await expect(user.getByRole('link', { name: 'chosen/' })).toBeVisible();
  await expect(user.getByText('2 files uploaded.')).toBeVisible();
  expect((await keysIn(api, name)).filter((key) => key.startsWith('chosen/'))).toEqual(['chosen/a', 'chosen/b/c']);
});

test('uploads go on while other pages are looked at, can be stopped, and list their folder once in a while', async ({ user, api, baseURL }) => {
  const name = fresh('goes-on').toLowerCase();
  await put(api, baseURL, name);
  await user.goto(`/buckets/kubeflow/${name}`);
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  let lists = 0;
  user.on('request', (request) => { if (request.url().includes('list-type=2')) lists += 1; });
  let letThrough: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => { letThrough = resolve; });
  await user.route(`**/s3/kubeflow/${name}/**`, async (route) => {
    if (route.request().method() === 'PUT') await gate;
    await route.continue();
  });
  await choose(user, 'Upload files', Array.from({ length: 40 }, (_, n) => ({ name: `f${String(n).padStart(2, '0')}`, mimeType: 'text/plain', buffer: Buffer.from('x') })));
  const panel = user.getByRole('region', { name: 'Uploads' });
  await expect(panel).toContainText('40 uploads under way');
  await expectAccessibleInBoth(user, 'uploads under way');
  await panel.getByRole('button', { name: 'Stop the upload of f05' }).click();
  await expect(panel).toContainText('39 uploads under way');
  // Another page of the box still shows them.
  await user.getByRole('navigation', { name: 'Places' }).getByRole('link', { name: 'Volumes' }).click();
  await expect(user.getByRole('heading', { level: 1, name: 'Volumes' })).toBeVisible();
  await expect(panel).toContainText('39 uploads under way');
  // Who leaves the site is asked.
  const asked = user.waitForEvent('dialog');
  await user.close({ runBeforeUnload: true });
  const question = await asked;
  expect(question.type()).toBe('beforeunload');
  await question.dismiss();
  await user.goBack();
  lists = 0;
  letThrough();
  await expect(user.getByText('39 files uploaded.')).toBeVisible();
  await expect(panel).toHaveCount(0);
  await expect(user.getByRole('link', { name: 'f39' })).toBeVisible();
  expect(await keysIn(api, name)).toHaveLength(39);
  expect(lists).toBeLessThan(15);
});

test('the same file can be sent twice, and what is known of it is of the last', async ({ user, api, baseURL }, info) => {
  const name = fresh('twice').toLowerCase();
  await put(api, baseURL, name);
  await user.goto(`/buckets/kubeflow/${name}`);
  const path = join(folderOf(info.outputPath('twice'), { 'note.txt': 'first' }), 'note.txt');
  const drawer = user.getByRole('dialog');
  for (const text of ['first', 'second, longer']) {
    writeFileSync(path, text);
    await choose(user, 'Upload files', path);
    await expect(user.getByText('1 file uploaded.')).toBeVisible();
    await user.getByRole('link', { name: 'note.txt' }).click();
    await expect(drawer.getByLabel('Preview')).toHaveText(text);
    await expect(drawer.getByRole('table', { name: 'About the object' })).toContainText(`${text.length} B`);
    await drawer.getByRole('button', { name: 'Close' }).click();
    await expect(user.getByText('1 file uploaded.')).toHaveCount(0);
  }
  // Gone and made again by someone else.
  await user.getByRole('checkbox', { name: 'Select note.txt' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
  await put(api, baseURL, `${name}/note.txt`, 'third');
  await user.reload();
  await user.getByRole('link', { name: 'note.txt' }).click();
  await expect(drawer.getByLabel('Preview')).toHaveText('third');
});

test('tables are shown as rows, and objects can be copied as Python', async ({ user, api, baseURL }) => {
  const name = fresh('tables').toLowerCase();
  await put(api, baseURL, name);
  await put(api, baseURL, `${name}/places.tsv`, 'city, land\tpeople\nBern, CH\t140000\n');
  for (const file of ['rows.parquet', 'zstd.parquet']) await put(api, baseURL, `${name}/${file}`, readFileSync(fixture(file)));
  await put(api, baseURL, `${name}/broken.parquet`, 'this is no table');
  await user.goto(`/buckets/kubeflow/${name}`);
  const drawer = user.getByRole('dialog').first();
  const open = async (file: string) => user.getByRole('link', { name: file }).click();
  const close = async () => drawer.getByRole('button', { name: 'Close' }).click();

  await open('places.tsv');
  await expect(drawer.getByRole('cell', { name: 'Bern, CH', exact: true })).toBeVisible();
  await expect(drawer.getByRole('columnheader', { name: 'city, land', exact: true })).toBeVisible();
  await expect(drawer).toContainText(`minio://${name}/places.tsv`);
  await drawer.getByRole('button', { name: 'Copy as' }).click();
  await user.getByRole('menuitem', { name: 'Python: read with pandas' }).click();
  const shown = user.getByRole('dialog', { name: 'Python: read with pandas' });
  await expect(shown).toContainText('pd.read_csv(body, sep="\\t")');
  await expectAccessible(user, 'an object as Python');
  // Escape closes the snippet, not the object below it.
  await user.keyboard.press('Escape');
  await expect(shown).toHaveCount(0);
  await expect(drawer.getByRole('cell', { name: 'Bern, CH', exact: true })).toBeVisible();
  await close();

  await open('rows.parquet');
  const rows = drawer.getByRole('table', { name: 'Preview' });
  await expect(rows.getByRole('columnheader')).toHaveText(['n', 'name', 'when', 'big', 'list', 'raw']);
  await expect(rows.getByRole('row').nth(1).getByRole('cell')).toHaveText(['0', 'row 0', '2026-01-01', '1152921504606846976', '[0,1]', '00']);
  await expect(rows.getByRole('row').nth(2).getByRole('cell').nth(1)).toHaveText('');
  await expect(rows.getByRole('row')).toHaveCount(201);
  await expect(drawer).toContainText('The first 200 of 250 rows are shown.');
  await expectAccessibleInBoth(user, 'a Parquet file');
  await close();

  await open('zstd.parquet');
  await expect(drawer.getByRole('alert')).toContainText('This file uses a compression that the browser cannot read (ZSTD).');
  await close();
  await open('broken.parquet');
  await expect(drawer.getByRole('alert')).toBeVisible();
});

test('keys with control characters are listed, shown and deleted', async ({ user, api, baseURL }) => {
  const name = fresh('control').toLowerCase();
  await put(api, baseURL, name);
  for (const key of ['a%01b.txt', 'dir%0D/x%0A.txt', 's%20p%2B%C3%BC.txt']) await put(api, baseURL, `${name}/${key}`, 'inside');
  await user.goto(`/buckets/kubeflow/${name}`);
  await expect(user.getByRole('link', { name: 's p+ü.txt' })).toBeVisible();
  await user.getByRole('link', { name: 'a␁b.txt' }).click();
  await expect(user.getByRole('dialog').getByLabel('Preview')).toHaveText('inside');
  await user.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
  await user.getByRole('link', { name: 'dir␍/' }).click();
  await expect(user.getByRole('link', { name: 'x␊.txt' })).toBeVisible();
  await user.getByRole('navigation', { name: 'Folders' }).getByRole('link', { name }).click();
  await user.getByRole('checkbox', { name: 'Select all rows of this page' }).check();
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByRole('dialog')).toContainText('Delete 3 objects?');
  await user.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(user.getByText('Nothing here yet')).toBeVisible();
});

test('a folder that cannot be looked through is not deleted, and says so', async ({ user, api, baseURL }) => {
  const name = fresh('refused').toLowerCase();
  await put(api, baseURL, name);
  await put(api, baseURL, `${name}/dir/x`, 'x');
  await user.goto(`/buckets/kubeflow/${name}`);
  await user.getByRole('checkbox', { name: 'Select dir/' }).check();
  await user.route('**/s3/kubeflow/**', (route) => (/prefix=dir/.test(route.request().url()) ? route.fulfill({ status: 403, body: '<Error><Code>AccessDenied</Code><Message>Not for you.</Message></Error>' }) : route.continue()));
  await user.getByRole('toolbar', { name: 'Actions on the selection' }).getByRole('button', { name: 'Delete' }).click();
  await expect(user.getByText('Not for you.')).toBeVisible();
  expect(await keysIn(api, name)).toEqual(['dir/x']);
});
