"""FastAPI + uvicorn with uvloop and httptools."""
from fastapi import FastAPI, Request
from model import answer_of, model, rows_of

app = FastAPI()


@app.post("/")
async def predict(request: Request):
    return answer_of(model.predict(rows_of(await request.json())).tolist())
