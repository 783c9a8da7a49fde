"""FastAPI + uvicorn with uvloop and httptools; the picture in a form, or as the body itself."""
import io
import os

from fastapi import FastAPI, Request, UploadFile
from network import answer_of, infer, load, read_picture

app = FastAPI()
model = load(os.environ["MODEL"])


@app.post("/")
async def predict(images: UploadFile):
    return answer_of(infer(model, read_picture(images.file)))


@app.post("/body")
async def predict_body(request: Request):
    return answer_of(infer(model, read_picture(io.BytesIO(await request.body()))))
