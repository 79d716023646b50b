import { redact } from '../lib/tier/redact.ts'
const k = ['planted-gateway-token-1', 'short-1234']
for (const t of ['x planted-gat…', 'x planted-gat… (cut)', 'foo … way-token-1 bar', '…way-token-1', 'a…b', 'planted-gat…way-token-1', 'planted…plant…', '…'.repeat(5)])
 { const r = redact(t, k); console.log(JSON.stringify(r), redact(r,k) === r) }
const big = 'hello world… foo bar baz \n'.repeat(300000)
let t0 = performance.now(); redact(big, Array.from({length:50},(_,i)=>`secret-value-number-${i}-abcdefghijklm`)); console.log(big.length, performance.now()-t0)
const big2 = 'hello world. foo bar baz \n'.repeat(300000)
t0 = performance.now(); redact(big2, Array.from({length:50},(_,i)=>`secret-value-number-${i}-abcdefghijklm`)); console.log(big.length, performance.now()-t0)
