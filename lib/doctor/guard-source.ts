/** A second look at a parsed command line: does the tree account for everything that stands in the text? */
import { forEachChild, type SyntaxNode } from 'unbash'

/** What may stand between the words: blanks, comments, operators and the shell's own words. */
const BETWEEN =
  /^(?:\s|\\\n|#[^\n]*(?=\n|$)|;;&|;&|;;|&&|\|\||\|&|[;|(){}!&]|\b(?:if|then|elif|else|fi|for|in|do|done|while|until|case|esac|time|coproc|function|select|-p)\b|\[\[|\]\])*$/

/**
 * The parser forgives and recovers; a piece of the text that it left out of the tree would run unjudged. So the words,
 * redirections and assignments that the walk sees must cover the text, up to what belongs to the grammar itself.
 */
export function coversSource(script: SyntaxNode, source: string): boolean {
  return covers(script, source, 0, source.length)
}

function covers(script: SyntaxNode, source: string, from: number, to: number): boolean {
  const spans: [number, number][] = []
  const substitutions: Substitution[] = []
  const collect = (node: SyntaxNode): void => {
    if (node.type === 'CommandExpansion') substitutions.push(node)
    else forEachChild(node, collect)
  }
  const visit = (node: SyntaxNode): void => {
    if (LEAVES.has(node.type)) {
      spans.push([node.pos, node.end])
      if (node.type === 'HereDoc') spans.push([node.body.pos, node.closing?.end ?? node.body.end])
      collect(node)
    } else {
      forEachChild(node, visit)
    }
  }
  visit(script)
  spans.sort((a, b) => a[0] - b[0])
  let at = from
  for (const [start, end] of spans) {
    if (start > at && !BETWEEN.test(source.slice(at, start))) return false
    at = Math.max(at, end)
  }
  return BETWEEN.test(source.slice(at, to)) && substitutions.every((one) => coversSubstitution(one, source))
}

type Substitution = Extract<SyntaxNode, { type: 'CommandExpansion' }>

/** A substitution's positions are those of the text around it, unless it had to be unescaped (nested backticks). */
function coversSubstitution(one: Substitution, source: string): boolean {
  if (!one.script) return false
  if (one.script.source !== undefined) return covers(one.script, one.script.source, 0, one.script.source.length)
  return covers(one.script, source, one.pos + (one.text.startsWith('`') ? 1 : 2), one.end - 1)
}

/** Nodes that are seen as a whole. */
const LEAVES: ReadonlySet<SyntaxNode['type']> = new Set([
  'Word',
  'Assignment',
  'Redirect',
  'HereString',
  'HereDoc',
  'TestUnary',
  'TestBinary',
])
