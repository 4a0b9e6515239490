// Drives every call of the emulator with cos-nodejs-sdk-v5, which has methods for objects only: cos.request sends
// the others. Settings come as JSON in CI_EMULATOR; node_modules is looked for in the working directory.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');

const COS = require(path.join(process.cwd(), 'node_modules', 'cos-nodejs-sdk-v5'));

const settings = JSON.parse(process.env.CI_EMULATOR);
const { Address, Bucket, Region, Way } = settings;

// How a call finds its way: options of the client, host of CI calls, and host of the bucket lists. The SDK connects
// to Ip whatever the host is; so only there can the regional host be named.
const ways = {
  ip: [{ Ip: Address }, `${Bucket}.ci.${Region}.myqcloud.com`, `ci.${Region}.myqcloud.com`],
  domain: [{ Domain: Address }, Address, Address],
};
const [options, ciHost, listHost] = ways[Way];

const keys = { SecretId: settings.SecretId, SecretKey: settings.SecretKey };
const client = (more) => new COS({ ...keys, Protocol: 'http:', ...options, ...more });
const cos = client();

const list = (value) => (value === undefined ? [] : [].concat(value));
const unknown = (letter) => letter + '0'.repeat(32);

// { A: ['b', { C: 'd' }] } is <A>b</A><A><C>d</C></A>
const xml = (value) =>
  typeof value === 'object'
    ? Object.entries(value).flatMap(([name, all]) => list(all).map((one) => `<${name}>${xml(one)}</${name}>`)).join('')
    : String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;');

// send('PUT jobs/j1', { Action: 'cancel' })
function send(line, more = {}, host = ciHost, by = cos) {
  const [Method, Key] = line.split(' ');
  const Url = `http://${host}/${Key}`;
  const Body = typeof more.Body === 'object' ? xml({ Request: more.Body }) : more.Body;
  const Headers = Body && { 'Content-Type': 'application/xml' };
  return by.request({ Bucket, Region, Method, Key, Url, Headers, ...more, Body });
}

async function answer(line, more, host) {
  const { statusCode, headers, Response } = await send(line, more, host);
  assert.equal(statusCode, 200);
  assert.ok(headers['x-ci-request-id']);
  return Response;
}

async function refused(promise, status, code, what) {
  const check = (error) => {
    assert.deepEqual([error.statusCode, error.error?.Code], [status, code]);
    return true;
  };
  await assert.rejects(promise, check, what);
}

// Rows of: call, what it has besides, status, code
async function allRefused(rows) {
  for (const [line, more, status, code] of rows) {
    await refused(send(line, more), status, code, line);
  }
}

async function until(look) {
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(20)) {
    const seen = await look();
    if (seen) return seen;
  }
  throw new Error(`in vain: ${look}`);
}

const object = (method, more) => cos[method]({ Bucket, Region, ...more });

const separation = { AudioMode: 'IsAudio', AudioConfig: { Codec: 'mp3' } };
const output = (name) => ({ Region, Bucket, AuObject: name });
const operation = (more) => ({
  VoiceSeparate: separation,
  Output: output('out/${jobid}.${ext}'),
  UserData: 'from node',
  ...more,
});
const job = (key, more) => ({ Tag: 'VoiceSeparate', Input: { Object: key }, Operation: operation(), ...more });
const submit = async (Body) => list((await answer('POST jobs', { Body })).JobsDetail);
const described = async (id) => list((await answer(`GET jobs/${id}`)).JobsDetail)[0];

async function objects() {
  const Key = 'in/node +ü.bin';
  const Body = Buffer.from('a b+c ü');
  const md5 = (encoding) => crypto.createHash('md5').update(Body).digest(encoding);
  const put = await object('putObject', { Key, Body, ContentMD5: md5('base64'), 'x-cos-meta-mine': 'yes' });
  assert.equal(put.ETag, `"${md5('hex')}"`);
  const head = await object('headObject', { Key });
  assert.equal(head.headers['content-length'], String(Body.length));
  assert.equal(head.headers['x-cos-meta-mine'], 'yes');
  assert.deepEqual((await object('getObject', { Key })).Body, Body);
  const part = await object('getObject', { Key, Range: 'bytes=2-3' });
  assert.equal(part.statusCode, 206);
  assert.deepEqual(part.Body, Body.subarray(2, 4));

  const listed = await object('getBucket', { Prefix: 'in/', MaxKeys: 1 });
  assert.deepEqual(listed.Contents.map((one) => one.Key), [Key]);
  assert.equal(listed.IsTruncated, 'false');
  const folders = await object('getBucket', { Delimiter: '/' });
  assert.deepEqual(folders.CommonPrefixes, [{ Prefix: 'in/' }]);
  assert.equal((await object('headBucket')).statusCode, 200);

  await object('putObject', { Key: 'in/speech.mp3', Body: fs.readFileSync(settings.Speech) });
  const videoinfo = (key) => ({ Method: 'GET', Key: key, Query: { 'ci-process': 'videoinfo' } });
  const info = (await object('request', videoinfo('in/speech.mp3'))).Response.MediaInfo;
  assert.equal(info.Stream.Audio.CodecName, 'mp3');

  const Long = 'k'.repeat(2000);
  for (const [method, more, status, code] of [
    ['putObject', { Key, Body: 'other', ContentMD5: md5('base64') }, 400, 'BadDigest'],
    ['getObject', { Key: 'in/none' }, 404, 'NoSuchKey'],
    ['getObject', { Key, Range: 'bytes=100-' }, 416, 'InvalidRange'],
    ['headObject', { Key: 'in/none' }, 404, undefined],
    ['deleteObject', { Key: Long }, 400, 'KeyTooLong'],
    ['getBucket', { MaxKeys: 'many' }, 400, 'InvalidArgument'],
    ['request', videoinfo(Key), 400, 'ResourceNotSupported'],
    ['request', videoinfo('in/none'), 404, 'NoSuchKey'],
  ]) {
    await refused(object(method, more), status, code, method);
  }
  assert.equal((await object('deleteObject', { Key })).statusCode, 204);
  await refused(object('getObject', { Key }), 404, 'NoSuchKey');
  if (options.Ip) await refused(object('headBucket', { Bucket: 'other-1250000000' }), 404, undefined);
}

async function uploadsInParts() {
  const Key = 'in/parts';
  const { UploadId } = await object('multipartInit', { Key });
  const { ETag } = await object('multipartUpload', { Key, UploadId, PartNumber: 1, Body: 'whole' });
  const Parts = [{ PartNumber: 1, ETag }];
  assert.equal((await object('multipartListPart', { Key, UploadId })).Part[0].ETag, ETag);
  assert.equal((await object('multipartList', { Prefix: Key })).Upload[0].UploadId, UploadId);
  await object('multipartComplete', { Key, UploadId, Parts });
  assert.equal((await object('getObject', { Key })).Body.toString(), 'whole');
  const other = await object('multipartInit', { Key });
  await object('multipartAbort', { Key, UploadId: other.UploadId });
  for (const method of ['multipartUpload', 'multipartListPart', 'multipartComplete', 'multipartAbort']) {
    const more = { Key, UploadId: other.UploadId, PartNumber: 1, Body: 'late', Parts };
    await refused(object(method, more), 404, 'NoSuchUpload', method);
  }
}

const SERVICES = [
  ['asrbucket', 'AsrBucket'],
  ['mediabucket', 'MediaBucket'],
  ['picbucket', 'PicBucket'],
  ['ai_bucket', 'AiBucket'],
  ['file_bucket', 'FileBucket'],
];

// At first no service is open
async function services() {
  await allRefused([['POST jobs', { Body: job('in/none.mp3') }, 400, 'MediaBucketUnBinded']]);
  for (const [Key, element] of SERVICES) {
    const bound = async (Query) => list((await answer(`GET ${Key}`, { Query }, listHost))[`${element}List`]);
    assert.deepEqual(await bound(), []);
    assert.equal((await answer(`POST ${Key}`))[element].BucketId, Bucket);
    await refused(send(`POST ${Key}`), 403, 'MediaBucketAlreadyBinded');
    assert.deepEqual((await bound({ regions: 'All', bucketNames: Bucket })).map((one) => one.Name), [Bucket]);
    assert.deepEqual(await bound({ bucketName: 'other' }), []);
    await refused(send(`GET ${Key}`, { Query: { pageSize: '101' } }, listHost), 400, 'InvalidArgument');
  }
  if (Way === 'ip') await refused(send('POST mediabucket', {}, listHost), 404, 'InvalidUrl');
  for (const [Key, element] of SERVICES) {
    assert.equal((await answer(`DELETE ${Key}`)).BucketName, Bucket);
    await refused(send(`DELETE ${Key}`), 400, 'MediaBucketUnBinded');
    assert.equal((await answer(`POST ${Key}`))[element].Region, Region);
  }
}

async function jobs() {
  const [one] = await submit(job('in/none.mp3'));
  assert.match(one.JobId, /^j[0-9a-f]{32}$/);
  const tagged = (UserData) => operation({ Tag: 'VoiceSeparate', UserData });
  const two = await submit(job('in/two.mp3', { Operation: [tagged('first'), tagged('second')] }));
  assert.deepEqual(two.map((each) => each.Operation.UserData), ['first', 'second']);

  const found = await answer(`GET jobs/${one.JobId},${two[1].JobId},${unknown('j')}`);
  assert.deepEqual(found.JobsDetail.map((each) => each.JobId), [one.JobId, two[1].JobId]);
  assert.equal(found.JobsDetail[0].Operation.UserData, 'from node');
  assert.deepEqual(list(found.NonExistJobIds), [unknown('j')]);

  const Query = { tag: 'VoiceSeparate', states: 'Submitted,Running', orderByTime: 'Asc', size: '2' };
  const first = await answer('GET jobs', { Query });
  const last = await answer('GET jobs', { Query: { ...Query, nextToken: first.NextToken } });
  const listed = [...first.JobsDetail, ...list(last.JobsDetail)].map((each) => each.JobId);
  assert.deepEqual(listed, [one, ...two].map((each) => each.JobId));

  const cancel = [`PUT jobs/${one.JobId},${two[0].JobId}`, { Action: 'cancel' }];
  assert.equal((await send(...cancel)).statusCode, 200);
  assert.equal((await described(two[0].JobId)).State, 'Cancel');
  assert.equal((await described(two[1].JobId)).State, 'Submitted');

  const eleven = Array.from({ length: 11 }, (_, index) => `j${index}`).join();
  await allRefused([
    [...cancel, 400, 'InvalidArgument'],
    ['POST jobs', { Body: '<Request><Tag>' }, 400, 'InvalidContent'],
    ['POST jobs', {}, 400, 'MissingContent'],
    ['POST jobs', { Body: job('') }, 400, 'InvalidArgument'],
    ['POST jobs', { Body: job('a', { Operation: Array(7).fill(tagged('much')) }) }, 400, 'InvalidArgument'],
    [`GET jobs/${eleven}`, {}, 400, 'InvalidArgument'],
    ['GET jobs', { Query: { tag: 'Nothing' } }, 400, 'InvalidArgument'],
    ['GET jobs', { Query: { ...Query, nextToken: 'none' } }, 400, 'InvalidArgument'],
  ]);
}

// What was sent is echoed as text; a list of one entry, and an element without content, have other forms here
function assertHasAll(returned, sent, what) {
  if (Array.isArray(sent)) {
    assert.equal(list(returned).length, sent.length, what);
    sent.forEach((one, index) => assertHasAll(list(returned)[index], one, what));
  } else if (typeof sent === 'object') {
    for (const [name, value] of Object.entries(sent)) assertHasAll(returned[name], value, `${what}.${name}`);
  } else {
    assert.equal(returned, String(sent), what);
  }
}

// A job of every type, at the path of its time
async function types() {
  for (const request of settings.Requests) {
    const [made] = await submit(request);
    const job = await described(made.JobId);
    for (const one of [made, job]) {
      assert.equal(one.Tag, request.Tag);
      assertHasAll(one.Operation, request.Operation, request.Tag);
      assert.equal(one.Input?.Object, request.Input?.Object);
    }
    const listed = await answer('GET jobs', { Query: { tag: request.Tag, orderByTime: 'Desc' } });
    assert.equal(list(listed.JobsDetail)[0].JobId, made.JobId);
    assert.equal((await send(`PUT jobs/${made.JobId}`, { Action: 'cancel' })).statusCode, 200);
    assert.equal((await described(made.JobId)).State, 'Cancel');
  }
}

async function templates() {
  const definition = (Name, more) => ({ Body: { Tag: 'VoiceSeparate', Name, ...separation, ...more } });
  const create = async (name) => (await answer('POST template', definition(name))).Template.TemplateId;
  const [one, two] = [await create('stems-声'), await create('stems-2')];

  const changed = await answer(`PUT template/${two}`, definition('other', { AudioMode: 'IsBackground' }));
  assert.deepEqual([changed.Template.Name, changed.Template.VoiceSeparate.AudioMode], ['other', 'IsBackground']);
  const byIds = await answer('GET template', { Query: { ids: `${one},${unknown('t')}` } });
  assert.equal(byIds.TemplateList.Name, 'stems-声');
  assert.equal(byIds.NonExistTIDs.TemplateId, unknown('t'));
  const byName = await answer('GET template', { Query: { name: 'oth', pageNumber: '1', pageSize: '10' } });
  assert.deepEqual([byName.TotalCount, byName.TemplateList.TemplateId], ['1', two]);

  const Operation = { TemplateId: one, Output: output('out/${jobid}.${ext}') };
  assert.equal((await submit(job('in/none.mp3', { Operation })))[0].Operation.TemplateName, 'stems-声');

  assert.equal((await answer(`DELETE template/${two}`)).TemplateId, two);
  await allRefused([
    ['POST template', definition('stems-声'), 400, 'TemplateNameDuplicate'],
    ['POST template', definition('a b'), 400, 'InvalidArgument'],
    [`PUT template/${two}`, definition('gone'), 400, 'TemplateNotFound'],
    [`PUT template/${one}`, definition('one', { AudioMode: 'Loud' }), 400, 'InvalidArgument'],
    ['GET template', { Query: { category: 'Mine' } }, 400, 'InvalidArgument'],
    [`DELETE template/${two}`, {}, 400, 'TemplateNotFound'],
  ]);
}

async function queues() {
  const all = [
    ['queue', 'Transcoding'],
    ['asrqueue', 'Speeching'],
    ['picqueue', 'PicProcess'],
    ['ai_queue', 'AIProcess'],
    ['file_queue', 'FileProcess'],
  ];
  for (const [Key, Category] of all) {
    const queue = (await answer(`GET ${Key}`, { Query: { state: 'Active' } })).QueueList;
    assert.equal(queue.Category, Category);
    const QueueId = queue.QueueId;
    const set = (State) => ({ Body: { Name: 'mine', State, NotifyConfig: { State: 'Off' } } });
    const [waiting] = await submit(job('in/none.mp3', { QueueId }));
    for (const [state, held] of [['Paused', 'Pause'], ['Active', 'Submitted']]) {
      assert.equal((await answer(`PUT ${Key}/${QueueId}`, set(state))).Queue.State, state);
      assert.equal((await described(waiting.JobId)).State, held);
    }
    const listed = await answer(`GET ${Key}`, { Query: { queueIds: `${QueueId},${unknown('p')}` } });
    assert.deepEqual([listed.QueueList.Name, listed.NonExistPIDs], ['mine', unknown('p')]);
    await allRefused([
      [`PUT ${Key}/${unknown('p')}`, set('Paused'), 400, 'QueueNotFound'],
      [`PUT ${Key}/${QueueId}`, set('Asleep'), 400, 'InvalidArgument'],
      [`GET ${Key}`, { Query: { state: 'Asleep' } }, 400, 'InvalidArgument'],
    ]);
  }
}

async function batches() {
  for (const Key of ['batch/a.mp3', 'batch/b.mp3']) await object('putObject', { Key, Body: 'no sound' });
  const Output = output('out/${InventoryTriggerJobId}/${InputName}.${ext}');
  const Operation = { Tag: 'VoiceSeparate', JobParam: { VoiceSeparate: separation }, Output };
  const batch = (Input) => ({ Body: { Name: 'from-node', Type: 'Job', Input, Operation } });
  const id = (await answer('POST inventorytriggerjob', batch({ Prefix: 'batch/' }))).JobsDetail.JobId;
  assert.match(id, /^b[0-9a-f]{32}$/);

  const Query = { tag: 'VoiceSeparate', inventoryTriggerJobId: id, orderByTime: 'Asc' };
  const children = async () => list((await answer('GET jobs', { Query })).JobsDetail);
  const made = await until(async () => ((all) => all.length === 2 && all)(await children()));
  assert.deepEqual(made.map((each) => each.Input.Object), ['batch/a.mp3', 'batch/b.mp3']);
  const one = await answer(`GET inventorytriggerjob/${id}`);
  assert.deepEqual([one.JobsDetail.State, one.JobsDetail.Input.Prefix], ['Running', 'batch/']);
  assert.equal((await answer(`GET inventorytriggerjob/${unknown('b')}`)).NonExistJobIds, unknown('b'));
  const listed = await answer('GET inventorytriggerjob', { Query: { name: 'from-node', states: 'Running' } });
  assert.equal(listed.JobsDetail.JobId, id);

  const cancel = [`PUT inventorytriggerjob/${id}`, { Action: 'cancel' }];
  assert.equal((await send(...cancel)).statusCode, 200);
  assert.equal((await answer(`GET inventorytriggerjob/${id}`)).JobsDetail.State, 'Cancel');
  assert.deepEqual((await children()).map((each) => each.State), ['Cancel', 'Cancel']);
  await allRefused([
    [...cancel, 400, 'InvalidArgument'],
    ['POST inventorytriggerjob', batch({ Prefix: 'batch/', Object: 'batch/a.mp3' }), 400, 'InvalidArgument'],
    ['GET inventorytriggerjob', { Query: { size: '0' } }, 400, 'InvalidArgument'],
    [`PUT inventorytriggerjob/${id}`, {}, 404, 'InvalidUrl'],
  ]);
}

// The SDK repeats a POST after a 5xx or a lost connection: the fault plan lets the first one act all the same
async function doubled() {
  await submit(job('in/doubled.mp3'));
}

async function wrongKey() {
  const wrong = client({ SecretKey: 'wrong' });
  await refused(send('GET jobs/j1', {}, ciHost, wrong), 401, 'InvalidAuthorization');
  await refused(wrong.getObject({ Bucket, Region, Key: 'in/speech.mp3' }), 403, 'SignatureDoesNotMatch');
  await refused(wrong.headBucket({ Bucket, Region }), 403, undefined);
}

// The last part: it deletes the bucket with all that it holds. Its jobs stay
async function buckets() {
  await refused(object('deleteBucket'), 409, 'BucketNotEmpty');
  await refused(object('putBucket'), 409, 'BucketAlreadyOwnedByYou');
  const Objects = (await object('getBucket')).Contents.map(({ Key }) => ({ Key }));
  const { Deleted } = await object('deleteMultipleObject', { Objects });
  assert.equal(Deleted.length, Objects.length);
  await refused(object('deleteMultipleObject', { Objects: Array(1001).fill({ Key: 'a' }) }), 400, 'MalformedXML');
  assert.equal((await object('deleteBucket')).statusCode, 204);
  await refused(object('headBucket'), 404, undefined);
  assert.equal((await object('putBucket')).statusCode, 200);
  assert.equal((await object('headBucket')).statusCode, 200);
}

const parts = [objects, uploadsInParts, services, jobs, types, templates, queues, batches, doubled, wrongKey, buckets];

async function main() {
  for (const part of parts) {
    await part();
    console.log(part.name);
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
