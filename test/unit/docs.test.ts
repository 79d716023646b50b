import { expect, test } from 'vitest'
import { generatedDocs } from '../support/docs.ts'

test.each(generatedDocs())('$path says what the code says (`npm run docs` writes it)', ({ is, shouldBe }) => {
  expect(is).toBe(shouldBe)
})
