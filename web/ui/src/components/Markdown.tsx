// Markdown from a step, as elements. HTML inside it is shown as text, images as links, links only to http(s):
// there is no way for it to run anything or to fetch anything by itself. Loaded only where Markdown is shown.
import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Lexer, type Token, type Tokens } from 'marked';
import { createElement, Fragment, type ReactNode } from 'react';
import { request } from '../api/http';
import { Loading } from './Page';
import classes from './ArtifactView.module.css';

const LIMIT = 512 * 1024;

export default function Markdown({ url }: { url: string }) {
  const { data, error } = useQuery({
    queryKey: ['text', url],
    queryFn: async ({ signal }) => {
      const response = await request(url, { signal, headers: { Range: `bytes=0-${LIMIT - 1}` } });
      return response.text();
    },
    staleTime: Infinity,
  });
  if (error !== null) return <Text size="sm" c="red.9">{error.message}</Text>;
  if (data === undefined) return <Loading what="the text" />;
  return <div className={classes.markdown}>{blocks(new Lexer({ gfm: true }).lex(data.slice(0, LIMIT)))}</div>;
}

const blocks = (tokens: Token[]): ReactNode[] => tokens.map((token, i) => <Fragment key={i}>{node(token)}</Fragment>);
const inner = (token: Token): ReactNode[] | string =>
  'tokens' in token && token.tokens !== undefined ? blocks(token.tokens) : 'text' in token ? String(token.text) : token.raw;

/** marked escapes text for HTML; React escapes again, so undo the first. */
const plain = (text: string) =>
  text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&quot;/g, '"').replace(/&#39;/g, "'").replace(/&amp;/g, '&');

function node(token: Token): ReactNode {
  switch (token.type) {
    case 'heading':
      // Below the page's own headings, so that the outline stays true.
      return createElement(`h${Math.min(6, (token as Tokens.Heading).depth + 2)}`, null, inner(token));
    case 'paragraph':
      return <p>{inner(token)}</p>;
    case 'strong':
      return <strong>{inner(token)}</strong>;
    case 'em':
      return <em>{inner(token)}</em>;
    case 'del':
      return <del>{inner(token)}</del>;
    case 'codespan':
      return <code>{plain((token as Tokens.Codespan).text)}</code>;
    case 'code':
      return <pre tabIndex={0}><code>{(token as Tokens.Code).text}</code></pre>;
    case 'blockquote':
      return <blockquote>{inner(token)}</blockquote>;
    case 'hr':
      return <hr />;
    case 'br':
      return <br />;
    case 'space':
      return null;
    case 'list': {
      const list = token as Tokens.List;
      const items = list.items.map((item, i) => <li key={i}>{blocks(item.tokens)}</li>);
      return list.ordered ? <ol start={Number(list.start) || 1}>{items}</ol> : <ul>{items}</ul>;
    }
    case 'table': {
      const table = token as Tokens.Table;
      return (
        <table>
          <thead><tr>{table.header.map((cell, i) => <th key={i}>{blocks(cell.tokens)}</th>)}</tr></thead>
          <tbody>
            {table.rows.map((row, i) => <tr key={i}>{row.map((cell, j) => <td key={j}>{blocks(cell.tokens)}</td>)}</tr>)}
          </tbody>
        </table>
      );
    }
    case 'link':
    case 'image': {
      const link = token as Tokens.Link;
      const label = token.type === 'image' ? `image: ${link.text || link.href}` : inner(token);
      return /^https?:\/\//i.test(link.href) ? <a href={link.href} target="_blank" rel="noreferrer noopener">{label}</a> : <span>{label}</span>;
    }
    case 'html':
      return <code>{token.raw}</code>;
    case 'text':
      return 'tokens' in token && token.tokens !== undefined ? blocks(token.tokens) : plain((token as Tokens.Text).text);
    case 'escape':
      return plain((token as Tokens.Escape).text);
    default:
      return token.raw;
  }
}
